"""The two servers of the embedded stack, started for real."""

import stat
from pathlib import Path

import psycopg
import redis

from app.embedded.postgres import PostgresServer


def test_postgres_is_version_18_and_listens_on_no_port(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        version = connection.execute("SHOW server_version").fetchone()
        address = connection.execute("SHOW listen_addresses").fetchone()
        locale = connection.execute("SELECT upper('ä'), 'B' < 'a'").fetchone()
    assert version is not None
    assert version[0].startswith("18")
    assert address == ("",)
    assert locale == ("Ä", True)


def test_socket_folder_of_postgres_is_closed_to_others(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    assert stat.S_IMODE(postgres_server.socket_dir.stat().st_mode) == 0o700


def test_broker_refuses_rather_than_evicts_and_saves_nothing(broker_url: str) -> None:
    path = broker_url.removeprefix("redis+socket://")
    with redis.Redis(unix_socket_path=path, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("port") == {"port": "0"}
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o700
