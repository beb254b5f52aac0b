"""Another signing key: what was signed before stays good, what is signed from then on is new."""

import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from sqlalchemy import select

from app.auth import signing_keys
from app.auth.principal import Principal
from app.auth.signing import RUN_TOKEN_SECONDS, Signer
from app.auth.signing_keys import SigningKey, SigningKeys
from app.auth.signing_uses import uses
from app.kernel.clock import utc_now
from app.kernel.errors import Unauthorized
from app.tables.deployment import Deployment
from app.tables.model import Model, ModelVersion
from app.tables.workspace import Workspace
from tests.conftest import REPOSITORY
from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio

RUN = Principal(kind="run", id="run_1", name="run run_1", workspace_id="ws_1", attempt=1)


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let added keys sign without delay."""
    monkeypatch.setattr(signing_keys, "OWN_DELAY_SECONDS", 0.0)


def key_of(token: str) -> str:
    found: str = jws.extract_compact(token.encode()).headers()["kid"]
    return found


async def deploy(api: LiveApi) -> str:
    """A deployment with keys, which nothing serves."""
    name = f"d-{uuid.uuid4().hex[:16]}"
    async with api.database.session() as session:
        found = select(Workspace.id).where(Workspace.name == api.workspace)
        workspace_id = (await session.scalars(found)).one()
        session.add(Model(id=name, workspace_id=workspace_id, name=name))
        await session.flush()
        version = ModelVersion(
            id=f"{name}-1", model_id=name, version=1, framework="TensorFlow",
            kind="saved_model", files=[], size_bytes=0, created_by="test",
        )  # fmt: skip
        session.add(version)
        await session.flush()
        row = Deployment(
            id=name, workspace_id=workspace_id, name=name, model_version_id=version.id,
            replica_count=1, next_check_at=None,
        )  # fmt: skip
        session.add(row)
    return name


async def keys_of(api: LiveApi, name: str) -> dict[str, str]:
    found: dict[str, str] = (await api.client.get(f"deployments/{name}/keys")).json()
    return found


async def is_taken(api: LiveApi, name: str, key: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    answer = await api.client.post(f"deployments/{name}/score", json={"data": []}, headers=headers)
    assert answer.status_code in (403, 503), answer.text
    return answer.status_code == 503


@pytest.mark.usefixtures("at_once")
def test_old_signatures_hold_and_new_ones_use_the_new_key(tmp_path: Path) -> None:
    here, elsewhere = Signer.load(tmp_path), Signer.load(tmp_path)
    before = here.issue(RUN)

    added = here.keys.add()

    after = here.issue(RUN)
    assert key_of(before) != added.id == key_of(after)
    for signer in (here, elsewhere, Signer.load(tmp_path)):
        assert signer.verify(before) == signer.verify(after) == RUN
        assert key_of(signer.issue(RUN)) == added.id


@pytest.mark.usefixtures("at_once")
def test_what_a_forgotten_key_signed_is_refused(tmp_path: Path) -> None:
    here, elsewhere = Signer.load(tmp_path), Signer.load(tmp_path)
    before, name = here.issue(RUN), here.installation_id
    here.keys.add()
    after = here.issue(RUN)

    here.keys.forget({key_of(before), key_of(after)})

    for signer in (here, elsewhere):
        with pytest.raises(Unauthorized):
            signer.verify(before)
        # The newest one is never forgotten, and things outside keep their owner.
        assert signer.verify(after) == RUN
        assert signer.installation_id == name


def test_a_key_signs_from_its_time_on(tmp_path: Path) -> None:
    signer = Signer.load(tmp_path)
    first = signer.keys.all()[0]

    added = signer.keys.add()

    assert signer.keys.at(utc_now()) == first
    assert signer.keys.at(added.signs_from) == added
    old = signer.derive("", "x", at=added.signs_from - timedelta(seconds=1))
    assert old != signer.derive("", "x", at=added.signs_from)
    assert key_of(signer.issue(RUN)) == first.id


def test_the_one_key_of_an_earlier_version_is_taken_over(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "signing.key").write_bytes(bytes(range(32)))

    assert Signer.load(tmp_path).keys.all() == [SigningKey(bytes(range(32)))]
    assert [path.name for path in folder.iterdir()] == ["signing.keys"]
    assert (folder / "signing.keys").stat().st_mode & 0o777 == 0o600


def test_a_file_of_the_operators(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("0123456789abcdef" * 4)
    signer = Signer.load(tmp_path, path)
    before = signer.issue(RUN)

    with path.open("a") as file:
        file.write("\n" + signing_keys.new_line(seconds=0))

    assert key_of(signer.issue(RUN)) == signer.keys.all()[1].id != key_of(before)
    assert signer.verify(before) == RUN
    # What is written badly while it runs changes nothing.
    for text in ("", "short", "x" * 40 + "\n" + "y" * 40, "base64:!!!", "x" * 40 + " from=noon"):
        path.write_text(text)
        assert signer.verify(before) == RUN
        with pytest.raises(ValueError, match=r".+"):
            SigningKeys.load(tmp_path, path)


def test_what_was_signed_for_something_else_is_no_token(tmp_path: Path) -> None:
    signer = Signer.load(tmp_path)
    claims = {"kind": "node", "sub": "x", "ws": "", "att": 1}

    assert signer.read(signer.sign(claims, seconds=9, purpose="a"), purpose="a")["sub"] == "x"
    for purpose in ("", "b"):
        with pytest.raises(Unauthorized):
            signer.read(signer.sign(claims, seconds=9, purpose="a"), purpose=purpose)


@pytest.mark.usefixtures("at_once")
async def test_keys_of_deployments_stay_until_they_are_regenerated(api: LiveApi) -> None:
    name = await deploy(api)
    before = await keys_of(api, name)
    keys: SigningKeys = api.app.state.signer.keys
    first = keys.all()[0]

    keys.add()

    assert await keys_of(api, name) == before
    assert await is_taken(api, name, before["primary"])
    async with api.database.session() as session:
        old = (await uses(session, keys.all()))[0]
    assert old.is_needed
    assert f"{api.workspace}/{name}" in old.words
    for each in ("primary", "secondary"):
        path = f"deployments/{name}/keys/regenerate"
        assert (await api.client.post(path, json={"key": each})).status_code == 200
    after = await keys_of(api, name)
    assert set(after.values()).isdisjoint(before.values())
    keys.forget({first.id})
    assert await keys_of(api, name) == after
    assert await is_taken(api, name, after["primary"])
    assert not await is_taken(api, name, before["primary"])


async def test_a_key_is_needed_as_long_as_what_it_signed(api: LiveApi) -> None:
    name = await deploy(api)
    ends = timedelta(seconds=RUN_TOKEN_SECONDS)
    now = utc_now()
    times = [now - 3 * ends, now - 2 * ends, now - ends / 2, now]
    keys = [SigningKey(bytes([number]) * 32, time) for number, time in enumerate(times)]

    async with api.database.session() as session:
        found = await uses(session, keys)
        assert [use.is_needed for use in found] == [False, True, True, True]
        row = await session.get_one(Deployment, name)
        row.primary_key_at = now - 2.5 * ends
        await session.flush()
        # The oldest goes first: while one is kept, so are those after it.
        assert [use.is_needed for use in await uses(session, keys)] == [True] * 4


async def test_the_commands(api: LiveApi) -> None:
    signer: Signer = api.app.state.signer
    token, name = signer.issue(RUN), await deploy(api)
    before = await keys_of(api, name)

    said = command(api, "rotate-key")

    assert said.returncode == 0, said.stderr
    assert len(signer.keys.all()) == 2
    assert signer.verify(token) == RUN
    listed = command(api, "keys").stdout
    assert all(key.id in listed for key in signer.keys.all())
    assert f"{api.workspace}/{name}" in listed

    said = command(api, "rotate-key", "--leaked")

    assert f"forgotten: {key_of(token)}" in said.stdout
    assert len(signer.keys.all()) == 1
    with pytest.raises(Unauthorized):
        signer.verify(token)
    assert set((await keys_of(api, name)).values()).isdisjoint(before.values())
    assert not await is_taken(api, name, before["primary"])
    audit = await api.client.get(
        "http://api/v1/audit", params={"operation": "signing rotate-key", "page_size": 1}
    )
    assert audit.json()["items"][0]["target"]["leaked"] is True
    own = api.settings.data_dir / "own.keys"
    line = command(api, "new-key").stdout
    own.write_text(line)
    refused = command(api, "rotate-key", key_file=own)
    assert refused.returncode == 1
    assert "new-key" in refused.stderr
    assert own.read_text() == line


def command(
    api: LiveApi, *words: str, key_file: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment: dict[str, Any] = {
        "PATH": "/usr/bin:/bin",
        "TRAINWRIGHT_DATA_DIR": str(api.settings.data_dir),
        "TRAINWRIGHT_DATABASE_URL": api.settings.database_url.get_secret_value(),
    }
    if key_file is not None:
        environment["TRAINWRIGHT_SIGNING_KEY_FILE"] = str(key_file)
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "signing", *words],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
