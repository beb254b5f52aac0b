"""What holds for every write of the document: keys, validation, conditions."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from app.kernel.orm import Base
from app.openapi.document import operations
from app.tables.idempotency_key import IdempotencyKey
from tests.contract.things import Things, make_things
from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio

LOG_LINES = {"audit_events", "idempotency_keys"}


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url, datastore_folders=[tmp_path]) as api:
        yield api


@pytest.fixture
async def things(api: LiveApi, tmp_path: Path) -> Things:
    return await make_things(api, tmp_path)


Operation = tuple[str, str, dict[str, Any]]


def writes(api: LiveApi) -> list[Operation]:
    found = []
    for path, method, operation in operations(api.app.openapi()):
        content = operation.get("requestBody", {}).get("content", {})
        if method in ("post", "put", "patch") and (not content or "application/json" in content):
            found.append((path, method, operation))
    return found


def takes(operation: dict[str, Any], name: str) -> bool:
    return any(
        name in (parameter.get("name"), parameter.get("$ref", "").rpartition("/")[2])
        for parameter in operation.get("parameters", [])
    )


async def rows(api: LiveApi) -> dict[str, str]:
    """A digest of every table."""
    found = {}
    async with api.database.session() as session:
        for table in Base.metadata.tables:
            if table not in LOG_LINES:
                digest = f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t"  # noqa: S608
                found[table] = str((await session.execute(text(digest))).scalar_one())
    return found


async def test_validating_changes_nothing(api: LiveApi, things: Things) -> None:
    before = await rows(api)
    tried = 0
    for path, method, operation in writes(api):
        name = operation["operationId"]
        if name not in things.bodies or not takes(operation, "validate_only"):
            continue
        tried += 1
        address = things.address(path) + "?validate_only=true"
        is_there = {"If-Match": "*"} if "428" in operation["responses"] else {}
        answer = await api.client.request(
            method, address, json=things.bodies[name], headers=is_there
        )
        assert answer.status_code == 200, (name, answer.text)
        assert "location" not in answer.headers, name
        wrong = await api.client.request(method, address, json={"nothing": "known"})
        assert wrong.status_code == 422, (name, wrong.text)
    assert tried > 25
    after = await rows(api)
    assert {table for table in before if before[table] != after[table]} <= {"tokens"}


async def test_every_creation_is_done_once_under_a_key(api: LiveApi, things: Things) -> None:
    repeated = [
        (path, operation["operationId"])
        for path, _, operation in writes(api)
        if takes(operation, "Idempotency-Key") and operation["operationId"] in things.bodies
    ]
    assert len(repeated) > 12
    for path, name in repeated:
        headers = {"Idempotency-Key": f"{api.workspace}-{name}", "Prefer": "wait=0"}
        address, body = things.address(path), things.bodies[name]
        first = await api.client.post(address, json=body, headers=headers)
        assert first.is_success, (name, first.text)
        again = await api.client.post(address, json=body, headers=headers)
        assert again.headers["idempotency-replayed"] == "true", name
        assert (again.status_code, again.content) == (first.status_code, first.content), name
        for header in ("location", "etag", "content-type"):
            assert again.headers.get(header) == first.headers.get(header), (name, header)
        other = await api.client.post(f"{address}?pretty", json=body, headers=headers)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused"), name


async def test_secrets_in_kept_answers_are_encrypted(api: LiveApi) -> None:
    headers = {"Idempotency-Key": f"{api.workspace}-secret"}
    made = await api.client.post("http://api/v1/tokens", json={"name": "kept"}, headers=headers)
    secret = made.json()["token"]
    async with api.database.session() as session:
        statement = select(IdempotencyKey).where(IdempotencyKey.key == headers["Idempotency-Key"])
        row = (await session.execute(statement)).scalar_one()
    assert row.key_id
    assert secret.encode() not in row.body
    again = await api.client.post("http://api/v1/tokens", json={"name": "kept"}, headers=headers)
    assert again.json()["token"] == secret


async def test_one_of_many_at_once_is_done(api: LiveApi, things: Things) -> None:
    headers = {"Idempotency-Key": f"{api.workspace}-many"}
    answers = await asyncio.gather(
        *(
            api.client.post("snapshots", json=things.bodies["create_snapshot"], headers=headers)
            for _ in range(4)
        )
    )
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert any(answer.status_code == 201 for answer in answers)
    busy = [answer.json()["code"] for answer in answers if answer.status_code == 409]
    assert set(busy) <= {"idempotency_key_busy"}


async def test_a_key_is_free_again_when_its_request_fails(api: LiveApi, things: Things) -> None:
    headers = {"Idempotency-Key": f"{api.workspace}-fails"}
    missing = {"files": [{"path": "a", "sha256": "0" * 64, "size_bytes": 1}]}
    refused = await api.client.post("snapshots", json=missing, headers=headers)
    assert refused.status_code == 422
    body = things.bodies["create_snapshot"]
    made = await api.client.post("snapshots", json=body, headers=headers)
    assert made.status_code == 201, made.text
    async with api.database.session() as session:
        held = select(func.count()).where(
            IdempotencyKey.status.is_(None), IdempotencyKey.key == headers["Idempotency-Key"]
        )
        assert (await session.execute(held)).scalar_one() == 0


@pytest.mark.fault(52)
async def test_writes_of_what_has_changed_are_refused(api: LiveApi, things: Things) -> None:
    tried = 0
    for path, method, operation in operations(api.app.openapi()):
        name = operation["operationId"]
        known = method == "delete" or name in things.bodies
        is_there = "nothing-there" not in things.address(path)
        if not (takes(operation, "IfMatch") and known and is_there):
            continue
        tried += 1
        address = things.address(path)
        body = {"json": things.bodies[name]} if method != "delete" else {}
        read = await api.client.get(address)
        assert read.status_code == 200, (name, read.text)
        etag = read.headers["etag"]
        assert not etag.startswith('".'), (name, "has no version of its own")
        old = await api.client.request(method, address, headers={"If-Match": '"old"'}, **body)
        assert (old.status_code, old.json()["code"]) == (412, "precondition_failed"), name
        if method == "put":
            there = await api.client.put(address, headers={"If-None-Match": "*"}, **body)
            assert there.status_code == 412, (name, there.text)
        if method != "delete":
            url = f"{address}?validate_only=true"
            fresh = await api.client.request(method, url, headers={"If-Match": etag}, **body)
            assert fresh.status_code == 200, (name, fresh.text)
        unchanged = await api.client.get(address)
        assert unchanged.headers["etag"] == etag, name
    assert tried > 30


async def test_one_of_those_who_have_read_the_same_writes(api: LiveApi, things: Things) -> None:
    described = {
        "update_workspace", "update_dataset", "update_model", "update_model_version",
        "put_experiment", "put_environment", "put_datastore", "put_secret", "put_deployment",
        "put_cluster",
    }  # fmt: skip
    tried = set()
    for path, method, operation in operations(api.app.openapi()):
        name = operation["operationId"]
        if name not in described:
            continue
        tried.add(name)
        address = things.address(path)
        etag = (await api.client.get(address)).headers["etag"]
        body = things.bodies[name]
        answers = await asyncio.gather(
            *(
                api.client.request(
                    method,
                    address,
                    json={**body, "description": f"{number}"},
                    headers={"If-Match": etag},
                )
                for number in range(6)
            )
        )
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200, 412, 412, 412, 412, 412], (name, statuses)
    assert tried == described


async def test_what_is_made_out_of_what_was_is_not_replaced_unread(
    api: LiveApi, things: Things
) -> None:
    guarded = {
        operation["operationId"]: things.address(path)
        for path, _, operation in operations(api.app.openapi())
        if "428" in operation["responses"]
    }
    assert guarded.keys() == {"put_role", "put_deployment_traffic"}
    address, body = guarded["put_role"], things.bodies["put_role"]
    before = await api.client.get(address)
    refused = await api.client.put(address, json=body)
    assert (refused.status_code, refused.json()["code"]) == (428, "precondition_required")
    assert (await api.client.get(address)).json() == before.json()
    for _ in range(2):
        sent = await api.client.put(address, json=body, headers={"If-Match": "*"})
        assert sent.status_code == 200, sent.text
    assert (await api.client.put(address, json=body)).status_code == 200, "it is no change"
