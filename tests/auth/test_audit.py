"""The audit log: what is in it, who reads it, and that nobody changes it."""

import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import audit
from tests.live_api import LiveApi, live_api
from tests.people import bare_client, make_user, somebody

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


async def events(api: LiveApi, **wanted: str) -> list[dict[str, Any]]:
    answer = await api.client.get("audit", params=wanted)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_change_is_recorded_with_who_what_where(api: LiveApi) -> None:
    name, token = await make_user(api, role="data-scientist")
    async with bare_client(api, token) as client:
        put = await client.put(f"/v1/workspaces/{api.workspace}/experiments/seen")
        assert put.status_code == 201
    (event,) = await events(api, actor=name)
    assert event["operation"] == "put_experiment"
    assert event["target"] == {"workspace": api.workspace, "experiment": "seen"}
    assert event["outcome"] == "done"
    assert event["permission"] == "experiments.write"
    assert event["request_id"] == put.headers["x-request-id"]
    assert event["address"]
    assert event["token_id"].startswith("tok_")


async def test_what_did_not_happen_is_not_recorded(api: LiveApi) -> None:
    name, token = await make_user(api, role="owner")
    mine = f"/v1/workspaces/{api.workspace}"
    async with bare_client(api, token) as client:
        assert (await client.get(f"{mine}/runs")).status_code == 200
        assert (await client.post(f"{mine}/experiments", json={})).status_code == 422
        assert (await client.delete(f"{mine}/snapshots/none")).status_code == 404
        made = await client.post(f"{mine}/experiments", json={"name": "twice"})
        assert made.status_code == 201
        again = await client.post(f"{mine}/experiments", json={"name": "twice"})
        assert again.status_code == 409
    assert [event["operation"] for event in await events(api, actor=name)] == ["create_experiment"]


async def test_what_is_denied_is_recorded(api: LiveApi) -> None:
    reader, token = await make_user(api, role="reader")
    stranger, other = await make_user(api)
    mine = f"/v1/workspaces/{api.workspace}"
    async with bare_client(api, token) as client:
        await client.delete(f"{mine}/runs/run_1")
        assert (await client.get(f"{mine}/audit")).status_code == 403
    async with bare_client(api, other) as client:
        assert (await client.get(f"{mine}/runs")).status_code == 404
        assert (await client.get("/v1/audit")).status_code == 403
    read, deleted = await events(api, actor=reader, outcome="denied")
    assert (deleted["operation"], deleted["status"]) == ("delete_run", 403)
    assert deleted["target"]["run_id"] == "run_1"
    assert read["operation"] == "list_workspace_audit_events"
    (seen,) = await events(api, actor=stranger)
    assert (seen["operation"], seen["outcome"], seen["status"]) == ("list_runs", "denied", 404)
    everywhere = await api.client.get("http://api/v1/audit", params={"actor": stranger})
    assert everywhere.json()["items"][0]["operation"] == "list_audit_events"


async def test_no_credential_is_in_it(api: LiveApi) -> None:
    secret = f"canary{uuid.uuid4().hex}"
    signer = api.app.state.signer
    async with bare_client(api, f"twt_{secret}") as client:
        assert (await client.get("/v1/me")).status_code == 401
    async with bare_client(api, f"twk_{secret}") as client:
        refused = await client.post(
            f"/v1/workspaces/{api.workspace}/deployments/nothing-there/score", json={}
        )
        assert refused.status_code in (401, 403)
        assert (await client.get(f"/discovery/twt_{secret}")).status_code == 401
    made = await api.client.post("http://api/v1/tokens", json={"name": "x"})
    async with api.database.session() as session:
        found = await session.execute(text("SELECT string_agg(e::text, ' ') FROM audit_events e"))
        dump = str(found.scalar_one())
    assert signer is not None
    assert secret not in dump
    assert made.json()["token"] not in dump
    assert "create_token" in dump


async def test_pages_and_filters(api: LiveApi) -> None:
    for index in range(5):
        await api.client.put(f"experiments/page-{index}", json={})
    seen: list[str] = []
    params = {"operation": "put_experiment", "page_size": "2"}
    while True:
        page = (await api.client.get("audit", params=params)).json()
        seen += [event["target"]["experiment"] for event in page["items"]]
        if not page["next_page_token"]:
            break
        params["page_token"] = page["next_page_token"]
    assert seen == [f"page-{index}" for index in reversed(range(5))]
    assert await events(api, until="2001-01-01T00:00:00Z") == []
    assert (await api.client.get("audit", params={"outcome": "x"})).status_code == 422


async def test_a_workspace_of_the_same_name_has_a_log_of_its_own(api: LiveApi) -> None:
    name = f"ws-{uuid.uuid4().hex[:12]}"
    address = f"http://api/v1/workspaces/{name}"
    await api.client.put(address, json={})
    await api.client.patch(address, json={"description": "before"})
    await api.client.delete(address)
    async with somebody(api) as other:
        await other.put(f"/v1/workspaces/{name}", json={})
        found = await other.get(f"/v1/workspaces/{name}/audit")
        assert found.json()["items"] == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET actor_name = 'nobody'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
    ],
)
async def test_the_database_refuses_to_change_it(api: LiveApi, statement: str) -> None:
    with pytest.raises(ProgrammingError, match="append-only"):
        async with api.database.session() as session:
            await session.execute(text(statement))


async def test_an_operator_deletes_what_is_old_and_that_is_recorded(api: LiveApi) -> None:
    old = f"aud_{uuid.uuid4().hex}"
    async with api.database.session() as session:
        await session.execute(
            text(
                "INSERT INTO audit_events (id, at, actor_kind, operation, outcome, status) "
                "VALUES (:id, now() - interval '40 days', 'user', 'x', 'done', 200)"
            ),
            {"id": old},
        )
    await api.client.put("experiments/recent", json={})
    assert await audit.purge(api.database.session, older_than_days=30) == 1
    assert len(await events(api, operation="put_experiment")) == 1
    params = {"operation": "audit purge"}
    found = (await api.client.get("http://api/v1/audit", params=params)).json()["items"]
    assert found[0]["target"] == {"older_than_days": "30", "events": "1"}
    with pytest.raises(ProgrammingError, match="append-only"):
        async with api.database.session() as session:
            await session.execute(text("DELETE FROM audit_events"))


async def test_many_old_events_go_some_at_a_time(
    api: LiveApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api.database.session() as session:
        await session.execute(
            text(
                "INSERT INTO audit_events (id, at, actor_kind, operation, outcome, status) "
                "SELECT :id || n, now() - interval '40 days', 'user', 'x', 'done', 200 "
                "FROM generate_series(1, 5) AS n"
            ),
            {"id": f"aud_{uuid.uuid4().hex}"},
        )
    monkeypatch.setattr(audit, "_PURGED_AT_ONCE", 2)
    transactions = 0

    @asynccontextmanager
    async def sessions() -> AsyncIterator[AsyncSession]:
        nonlocal transactions
        transactions += 1
        async with api.database.session() as one:
            yield one

    assert await audit.purge(sessions, older_than_days=30) == 5
    assert transactions == 1 + 3, "one asks what is old"


async def test_a_flood_of_refusals_does_not_fill_it(
    api: LiveApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_DENIED_A_SECOND", 1)
    marker = f"/v1/nothing-{uuid.uuid4().hex}"
    async with bare_client(api) as client:
        for _ in range(120):
            assert (await client.get(marker)).status_code == 401
    async with api.database.session() as session:
        found = await session.execute(
            text("SELECT count(*) FROM audit_events WHERE operation LIKE :path"),
            {"path": f"%{marker}"},
        )
        # At least one of each second; how many seconds it takes is the machine's affair.
        assert 1 <= found.scalar_one() < 100


def test_the_installed_program_knows_the_command() -> None:
    program = Path(sys.executable).with_name("trainwright")
    said = subprocess.run([program, "audit", "purge", "--help"], check=True, capture_output=True)
    assert b"--older-than-days" in said.stdout
