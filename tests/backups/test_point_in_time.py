"""The page's commands take a database back to a moment between two backups."""

import os
import subprocess
import time
from pathlib import Path

from sqlalchemy import create_engine, text

from app.embedded.account import account_for
from app.embedded.postgres import PostgresServer, program, serving
from app.embedded.sockets import socket_folder
from tests.pages import examples_of


def executed(server: PostgresServer, query: str) -> str:
    engine = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            result = connection.execute(text(query))
            return str(result.scalar()) if result.returns_rows else ""
    finally:
        engine.dispose()


def test_the_pages_commands_go_back_to_a_moment(tmp_path: Path) -> None:
    archiving, saving, going_back = examples_of("docs/backup.md")
    data, archive = tmp_path / "data", tmp_path / "archive"
    server = PostgresServer(
        data_dir=data / "postgres", socket_dir=socket_folder(tmp_path) / "postgres"
    )
    server.prepare()
    archive.mkdir()
    account = account_for(server.data_dir, needs=())
    if account is not None:
        os.chown(archive, account.uid, account.gid)

    def paste(block: str, moment: str = "") -> None:
        places = {
            "DATA": str(data),
            "ARCHIVE": str(archive),
            "BASE": str(tmp_path / "base"),
            "SOCKET": str(server.socket_dir),
            "PGBIN": str(program("postgres").parent),
            "MOMENT": moment,
        }
        subprocess.run(
            ["bash", "-euc", block], env={**os.environ, **places}, check=True, timeout=60
        )

    paste(archiving)
    with serving(server):
        paste(saving)
        executed(server, "CREATE TABLE kept (id int)")
        executed(server, "INSERT INTO kept VALUES (1), (2)")
        moment = executed(server, "SELECT clock_timestamp()")
        executed(server, "DELETE FROM kept")
        last = executed(server, "SELECT pg_walfile_name(pg_switch_wal())")
        deadline = time.monotonic() + 30
        while not (archive / last).exists():
            assert time.monotonic() < deadline, "the log is not archived"
            time.sleep(0.05)

    paste(going_back, moment)

    with serving(server):
        deadline = time.monotonic() + 30
        while executed(server, "SELECT pg_is_in_recovery()") == "True":
            assert time.monotonic() < deadline, "it is still being replayed"
            time.sleep(0.05)
        assert executed(server, "SELECT count(*) FROM kept") == "2"
        executed(server, "INSERT INTO kept VALUES (3)")
