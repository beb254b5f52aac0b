"""A live server on a real socket, and a workspace for each test."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.door import Door
from tests.client.program import Program
from tests.served import Served, served_api
from trainwright.connection import Connection


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, broker_url: str
) -> Iterator[Served]:
    """Return a server that lives as long as the session."""
    folder = tmp_path_factory.mktemp("client").resolve()
    with served_api(folder, postgres_url, broker_url) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home of its own, so that nobody's settings are read or written."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name, value in {
        "HOME": folder,
        "XDG_CONFIG_HOME": folder / "config",
        "XDG_CACHE_HOME": folder / "cache",
    }.items():
        monkeypatch.setenv(name, str(value))
    for name in ("TRAINWRIGHT_URL", "TRAINWRIGHT_TOKEN", "TRAINWRIGHT_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def door(served: Served) -> Iterator[Door]:
    """Return a way to the server that a test can break."""
    with Door(served.address) as opened:
        yield opened


@pytest.fixture
def connection(served: Served, door: Door, home: Path) -> Iterator[Connection]:
    """Return a connection through the door, in a workspace of its own."""
    name = f"ws-{uuid.uuid4().hex[:12]}"
    with Connection(door.address, token=served.token, workspace=name) as opened:
        opened.put(opened.path())
        yield opened


@pytest.fixture
def program(connection: Connection, home: Path, tmp_path: Path) -> Program:
    """Return the command, in an empty folder, for the workspace of this test."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return Program(
        home,
        folder,
        {
            "TRAINWRIGHT_URL": connection.url,
            "TRAINWRIGHT_TOKEN": connection.token,
            "TRAINWRIGHT_WORKSPACE": connection.workspace,
        },
    )
