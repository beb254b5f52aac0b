"""Secrets go in and never come out; what is stored of them is good in its own row only."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError

from app.auth.principal import Principal
from app.kernel.keyring import Keyring, KeyUnknown, ValueAltered
from app.secrets import repository, rotation, service
from app.secrets.errors import SecretNotFound
from app.tables.secret import SecretVersion
from tests.live_api import LiveApi, live_api
from tests.made_runs import make_request

pytestmark = pytest.mark.anyio

CANARY = "canary-9d1e7a-value"


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


async def put(api: LiveApi, name: str, value: str = CANARY, **more: Any) -> Any:
    return await api.client.put(f"secrets/{name}", json={"value": value, **more})


async def workspace_id(api: LiveApi) -> str:
    found: str = (await api.client.get(str(api.client.base_url).rstrip("/"))).json()["id"]
    return found


async def reveal(api: LiveApi, name: str, version: int | None = None) -> bytes:
    keyring: Keyring = api.app.state.keyring
    found = await workspace_id(api)
    async with api.database.session() as session:
        return await service.reveal(
            session, keyring, workspace_id=found, name=name, version=version
        )


async def test_a_value_goes_in_and_only_facts_come_out(api: LiveApi) -> None:
    made = await put(api, "db", description="of the warehouse")
    assert made.status_code == 201
    assert made.headers["location"].endswith("/secrets/db")
    again = await put(api, "db", "second")
    assert again.status_code == 200
    assert again.json()["version"] == 2
    shown = await api.client.get("secrets/db")
    listed = await api.client.get("secrets")
    versions = await api.client.get("secrets/db/versions")
    assert [each["version"] for each in versions.json()["items"]] == [2, 1]
    assert [each["name"] for each in listed.json()["items"]] == ["db"]
    assert shown.headers["etag"] == again.headers["etag"]
    for answer in (made, again, shown, listed, versions):
        assert CANARY not in answer.text
        assert "second" not in answer.text
    assert await reveal(api, "db") == b"second"
    assert await reveal(api, "db", 1) == CANARY.encode()


async def test_a_write_can_depend_on_what_is_there(api: LiveApi) -> None:
    first = await put(api, "db")
    body = {"value": "other"}
    exists = await api.client.put("secrets/db", json=body, headers={"If-None-Match": "*"})
    assert exists.status_code == 412
    stale = await api.client.put("secrets/db", json=body, headers={"If-Match": '"old"'})
    assert stale.status_code == 412
    etag = {"If-Match": first.headers["etag"]}
    assert (await api.client.put("secrets/db", json=body, headers=etag)).status_code == 200
    assert await reveal(api, "db") == b"other"


async def test_bytes_go_in_as_base64(api: LiveApi) -> None:
    data = bytes(range(256))
    encoded = base64.encodebytes(data).decode()
    assert (await put(api, "raw", encoded, encoding="base64")).status_code == 201
    assert await reveal(api, "raw") == data
    refused = await put(api, "raw", CANARY + "!", encoding="base64")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["code"] == "bad_base64"
    assert CANARY not in refused.text


async def test_what_is_wrong_is_not_repeated(api: LiveApi) -> None:
    bodies: list[Any] = [
        {},
        {"value": ""},
        {"value": "x" * 200_000},
        {"value": "ü" * 40_000},
        {"value": 5},
        {"value": [CANARY]},
        {"value": CANARY, "encoding": CANARY},
        {"value": CANARY, "extra": CANARY},
        {"value": CANARY + "\0"},
        [CANARY],
        CANARY,
    ]
    for body in bodies:
        answer = await api.client.put("secrets/db", json=body)
        assert answer.status_code == 422, body
        assert CANARY not in answer.text
    broken = f'{{"value": "{CANARY}'.encode()
    json_type = {"Content-Type": "application/json"}
    answer = await api.client.put("secrets/db", content=broken, headers=json_type)
    assert answer.status_code == 400
    assert CANARY not in answer.text
    assert (await api.client.get("secrets/db")).status_code == 404


async def test_twenty_versions_are_kept(api: LiveApi) -> None:
    for number in range(service.MOST_VERSIONS + 2):
        await put(api, "often", f"value {number}")
    kept = (await api.client.get("secrets/often/versions")).json()["items"]
    assert [each["version"] for each in kept] == list(range(22, 2, -1))


async def test_what_is_deleted_is_gone(api: LiveApi) -> None:
    await put(api, "db")
    assert (await api.client.delete("secrets/db")).status_code == 204
    assert (await api.client.delete("secrets/db")).status_code == 204
    assert (await api.client.get("secrets/db")).json()["code"] == "secret_not_found"
    async with api.database.session() as session:
        left = await session.execute(
            text(
                "SELECT count(*) FROM secret_versions v WHERE NOT EXISTS "
                "(SELECT 1 FROM secrets s WHERE s.id = v.secret_id)"
            )
        )
        assert left.scalar_one() == 0


async def test_runs_and_nodes_may_not_look_at_secrets(api: LiveApi) -> None:
    await put(api, "db")
    found = await workspace_id(api)
    for kind in ("run", "node"):
        principal = Principal(kind=kind, id="x", name="x", workspace_id=found)
        headers = {"Authorization": f"Bearer {api.app.state.signer.issue(principal)}"}
        for method, path in (("GET", "secrets"), ("GET", "secrets/db"), ("DELETE", "secrets/db")):
            answer = await api.client.request(method, path, headers=headers)
            assert answer.status_code == 403, (kind, method, path)


async def test_a_run_names_secrets_that_are_there(api: LiveApi) -> None:
    body = await make_request(api)
    asked = {**body, "secrets": {"DB": {"secret": "db"}}}
    refused = await api.client.post("runs", json=asked)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/secrets/DB/secret"
    await put(api, "db")
    older = {**body, "secrets": {"DB": {"secret": "db", "version": 7}}}
    refused = await api.client.post("runs", json=older)
    assert refused.json()["errors"][0]["code"] == "unknown_secret_version"
    bad = {**body, "secrets": {"D-B": {"secret": "db"}}}
    assert (await api.client.post("runs", json=bad)).status_code == 422
    made = await api.client.post("runs", json=asked)
    assert made.status_code == 201
    assert made.json()["request"]["secrets"] == {"DB": {"secret": "db"}}


async def test_a_database_holds_neither_value_nor_key(api: LiveApi) -> None:
    await put(api, "db")
    value = CANARY.encode()
    spellings = [value, base64.b64encode(value)[:20], value.hex().encode()]
    keys = api.app.state.keyring.path.read_text().split()
    spellings += [key.encode() for key in keys]
    spellings += [base64.b64decode(key).hex().encode() for key in keys]
    dump = await dumped(api)
    assert b"secret_versions" in dump
    for spelling in spellings:
        assert spelling not in dump


async def dumped(api: LiveApi) -> bytes:
    """All rows of all tables, as text."""
    parts = []
    async with api.database.session() as session:
        names = await session.execute(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        )
        for name in names.scalars().all():
            rows = await session.execute(text(f'SELECT t::text FROM "{name}" t'))  # noqa: S608
            parts += [name, *rows.scalars().all()]
    return "\n".join(parts).encode()


async def test_bytes_of_another_row_do_not_decrypt(api: LiveApi) -> None:
    await put(api, "mine", "mine")
    await put(api, "theirs", "theirs")
    async with api.database.session() as session:
        rows = await session.execute(
            text(
                "SELECT s.name, v.secret_id, v.sealed FROM secret_versions v JOIN secrets s "
                "ON s.id = v.secret_id WHERE s.workspace_id = :id"
            ),
            {"id": await workspace_id(api)},
        )
        found = {row.name: row for row in rows}
        await session.execute(
            update(SecretVersion)
            .where(SecretVersion.secret_id == found["mine"].secret_id)
            .values(sealed=found["theirs"].sealed)
        )
    with pytest.raises(ValueAltered):
        await reveal(api, "mine")
    assert await reveal(api, "theirs") == b"theirs"


async def test_other_domains_keep_secrets_that_are_not_listed(api: LiveApi) -> None:
    keyring: Keyring = api.app.state.keyring
    found, scope = await workspace_id(api), "datastore/ds_1"
    async with api.database.session() as session:
        await service.put(
            session, keyring, workspace_id=found, scope=scope, name="key", value=b"k", actor="me"
        )
    assert (await api.client.get("secrets")).json()["items"] == []
    assert (await api.client.get("secrets/key")).status_code == 404
    async with api.database.session() as session:
        value = await service.reveal(session, keyring, workspace_id=found, scope=scope, name="key")
        assert value == b"k"
        await service.forget(session, workspace_id=found, scope=scope)
        with pytest.raises(SecretNotFound):
            await service.reveal(session, keyring, workspace_id=found, scope=scope, name="key")


@pytest.fixture
async def alone(api: LiveApi) -> None:
    """Take away what other tests wrote with keys of their own."""
    async with api.database.session() as session:
        await session.execute(text("DELETE FROM secrets"))


@pytest.mark.usefixtures("alone")
async def test_rotation_encrypts_all_anew_and_forgets_the_old_key(
    api: LiveApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH_ROWS", 2)
    for number in range(5):
        await put(api, f"s{number}", f"value {number}")
    keyring: Keyring = api.app.state.keyring
    old = keyring.current

    done = await rotation.rotate(api.database.session, keyring, may_write=True)

    assert done.values == 5
    assert done.is_new
    assert done.unused == {old}
    assert keyring.ids() == [done.key_id] != [old]
    assert [await reveal(api, f"s{number}") for number in range(5)] == [
        f"value {number}".encode() for number in range(5)
    ]
    restarted = Keyring.load(api.settings)
    assert restarted.ids() == [done.key_id]
    await put(api, "later", "later")
    assert await reveal(api, "later") == b"later"


@pytest.mark.usefixtures("alone")
async def test_a_rotation_that_was_broken_off_is_brought_to_its_end(
    api: LiveApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH_ROWS", 2)
    for number in range(5):
        await put(api, f"s{number}", f"value {number}")
    keyring: Keyring = api.app.state.keyring
    lock = repository.lock_under_other_keys
    calls = 0

    async def fail_at_the_second(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConnectionError
        return await lock(*args, **options)

    monkeypatch.setattr(repository, "lock_under_other_keys", fail_at_the_second)
    with pytest.raises(ConnectionError):
        await rotation.rotate(api.database.session, keyring, may_write=True)
    half = keyring.ids()
    assert len(half) == 2
    assert await reveal(api, "s0") == b"value 0"
    assert await reveal(api, "s4") == b"value 4"

    done = await rotation.rotate(api.database.session, keyring, may_write=True)

    assert not done.is_new
    assert keyring.ids() == [half[1]]
    assert await reveal(api, "s4") == b"value 4"


@pytest.mark.usefixtures("alone")
async def test_what_cannot_be_decrypted_stays_and_is_named(api: LiveApi) -> None:
    await put(api, "good", "good")
    await put(api, "lost", "lost")
    async with api.database.session() as session:
        lost = update(SecretVersion).where(
            text("secret_id IN (SELECT id FROM secrets WHERE name = 'lost')")
        )
        await session.execute(lost.values(key_id="gone"))

    done = await rotation.rotate(api.database.session, api.app.state.keyring, may_write=True)

    assert done.values == 1
    assert len(done.unreadable) == 1
    assert await reveal(api, "good") == b"good"


async def test_a_lost_key_is_named_and_nothing_else_is_told(api: LiveApi) -> None:
    await put(api, "db")
    keyring: Keyring = api.app.state.keyring
    lost = keyring.current
    keyring.path.unlink()
    api.app.state.keyring = Keyring.load(api.settings)
    with pytest.raises(KeyUnknown, match=lost):
        await reveal(api, "db")
    await put(api, "db", "new")
    assert await reveal(api, "db") == b"new"


async def test_the_document_says_that_a_value_is_only_written(api: LiveApi) -> None:
    document = (await api.client.get("http://api/openapi.json")).json()
    value = document["components"]["schemas"]["SecretPut"]["properties"]["value"]
    assert value["writeOnly"] is True
    assert "value" not in json.dumps(document["components"]["schemas"]["SecretRead"]["properties"])


async def test_errors_of_the_database_show_no_values(api: LiveApi) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with api.database.session() as session:
            await session.execute(text("SELECT 1/0 WHERE :value <> ''"), {"value": CANARY})
    assert "division by zero" in str(caught.value)
    assert CANARY not in f"{caught.value!r} {caught.value}"
