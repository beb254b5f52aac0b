"""A database folder in every state that a crash or a person may leave it in."""

import asyncio
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from app.embedded.errors import EmbeddedError
from app.embedded.postgres import PostgresServer
from tests.conftest import running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Return a server with a folder of its own, which is closed to other users."""
    folder = tmp_path_factory.mktemp("pg").resolve()
    folder.chmod(0o700)
    server = PostgresServer(data_dir=folder / "data", socket_dir=folder / "run")
    server.prepare()
    yield server
    server.prepare()


def _execute(server: PostgresServer, statement: str) -> None:
    with psycopg.connect(server.url().replace("+psycopg", "")) as connection:
        connection.execute(statement)


def _query(server: PostgresServer, statement: str) -> object:
    with psycopg.connect(server.url().replace("+psycopg", "")) as connection:
        row = connection.execute(statement).fetchone()
        assert row is not None
        return row[0]


def test_killed_server_comes_back_with_what_was_committed(server: PostgresServer) -> None:
    with running(server.spec(), is_ready=server.is_ready_now) as process:
        _execute(server, "DROP TABLE IF EXISTS kept")
        _execute(server, "CREATE TABLE kept AS SELECT 7 AS n")
        process.kill()
        process.wait()
    assert (server.data_dir / "postmaster.pid").exists()
    server.prepare()
    with running(server.spec(), is_ready=server.is_ready_now):
        assert _query(server, "SELECT n FROM kept") == 7


def test_server_of_a_killed_supervisor_is_ended_first(server: PostgresServer) -> None:
    spec = server.spec()
    with running(spec, is_ready=server.is_ready_now) as orphan:
        server.prepare()
        assert orphan.wait(timeout=10) is not None
        with running(spec, is_ready=server.is_ready_now):
            assert _query(server, "SELECT 1") == 1


def test_lock_file_whose_process_id_was_given_to_another_program(server: PostgresServer) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            lock_file = server.data_dir / "postmaster.pid"
            lock_file.write_text(f"{other.pid}\n{server.data_dir}\n0\n5432\n\n\n\n")
            os.chown(lock_file, server.data_dir.stat().st_uid, -1)
            server.prepare()
            with running(server.spec(), is_ready=server.is_ready_now):
                assert _query(server, "SELECT 1") == 1
            assert psutil.pid_exists(other.pid)
        finally:
            other.kill()


def test_no_folder_above_was_opened(server: PostgresServer) -> None:
    assert stat.S_IMODE(server.data_dir.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700


def test_half_made_cluster_is_made_again(tmp_path: Path) -> None:
    half = tmp_path / "data.incoming"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    server = PostgresServer(data_dir=tmp_path / "data", socket_dir=tmp_path / "run")
    server.prepare()
    assert (tmp_path / "data" / "global" / "pg_control").exists()
    assert not half.exists()


def test_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("16\n")
    server = PostgresServer(data_dir=tmp_path / "data", socket_dir=tmp_path / "run")
    with pytest.raises(EmbeddedError, match="made by PostgreSQL 16"):
        server.prepare()


def test_stopped_server_is_not_ready(tmp_path: Path) -> None:
    server = PostgresServer(data_dir=tmp_path / "data", socket_dir=tmp_path)
    assert not asyncio.run(server.is_ready())
