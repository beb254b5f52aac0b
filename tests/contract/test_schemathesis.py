"""Whatever the document allows, and much that it does not, is answered as the document says.

Schemathesis makes the requests; its seed is fixed, so a failure comes again. For a longer look by
hand: ``SCHEMATHESIS_SECONDS=900 .venv/bin/python -m pytest tests/contract/test_schemathesis.py``,
and the same with ``test_node_protocol.py``.
"""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psycopg
import pytest
from pydantic import SecretStr

from app.auth.limits import DEFAULTS
from app.auth.service import create_token
from app.embedded.postgres import PostgresServer
from app.kernel.broker import BrokerHints
from app.kernel.config import Settings
from app.kernel.db import Database
from app.kernel.signals import Signals
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SECONDS = int(os.environ.get("SCHEMATHESIS_SECONDS", "30"))
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
# They would take the caller's own right to go on.
LEFT_OUT = ("revoke_token", "delete_user", "update_user")


@dataclass(frozen=True)
class Served:
    """An API process with a database of its own."""

    address: str
    token: str


@pytest.fixture(scope="module")
def served(
    postgres_server: PostgresServer, broker_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Start the API alone: what is asked of it stays wishes, as no worker runs."""
    url = _own_database(postgres_server)
    folder = tmp_path_factory.mktemp("contract").resolve()
    settings = Settings(
        data_dir=folder, database_url=SecretStr(url), broker_url=SecretStr(broker_url)
    )
    token = asyncio.run(_first_token(settings))
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "api", "--fd", str(listener.fileno())],
        cwd=REPOSITORY,
        env={
            "PATH": os.environ["PATH"],
            "TRAINWRIGHT_DATA_DIR": str(folder),
            "TRAINWRIGHT_DATABASE_URL": url,
            "TRAINWRIGHT_BROKER_URL": broker_url,
            # None: a request that is put off tells nothing.
            "TRAINWRIGHT_RATE_LIMITS": json.dumps(dict.fromkeys(DEFAULTS, "")),
        },
        pass_fds=[listener.fileno()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(address)
        yield Served(address=address, token=token)
    finally:
        process.terminate()
        process.wait(timeout=60)
        listener.close()


def _own_database(server: PostgresServer) -> str:
    name = f"contract_{os.getpid()}"
    with psycopg.connect(_plain(server.url()), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = server.url(name)
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "TRAINWRIGHT_DATABASE_URL": url},
        check=True,
        timeout=120,
    )
    return url


def _plain(url: str) -> str:
    return re.sub(r"^postgresql\+\w+", "postgresql", url)


async def _first_token(settings: Settings) -> str:
    database = Database(settings, BrokerHints(settings, Signals()))
    async with database.session() as session:
        _, secret = await create_token(session, name="contract")
    await database.close()
    return secret


def _wait(address: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx2.get(f"{address}/readyz").raise_for_status()
        except httpx2.HTTPError:
            assert time.monotonic() < deadline, "the API does not answer"
            time.sleep(0.1)
        else:
            return


def test_every_answer_is_one_that_the_document_knows(served: Served, tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {served.token}"}
    httpx2.put(f"{served.address}/v1/workspaces/ws-1", headers=headers).raise_for_status()
    command = [str(Path(sys.executable).with_name("schemathesis")), "run"]
    command += [
        f"{served.address}/openapi.json",
        "--header",
        f"Authorization: Bearer {served.token}",
    ]
    command += ["--checks", ",".join(CHECKS), "--phases", "coverage,stateful"]
    # One worker: Hypothesis changes the recursion limit of all threads, which CPython 3.11 minds.
    command += ["--seed", "1", "--workers", "1", "--max-examples", "3", "--no-shrink"]
    command += ["--max-time", str(SECONDS), "--continue-on-failure", "--request-timeout", "60"]
    command += ["--suppress-health-check", "all", "--warnings", "off"]
    for name in LEFT_OUT:
        command += ["--exclude-operation-id", name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1400)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    found = re.search(r"(\d+) generated", done.stdout)
    assert found is not None, done.stdout[-2000:]
    assert int(found[1]) > 50, done.stdout[-2000:]
