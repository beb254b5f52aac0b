"""Readiness and liveness, with what they are about taken away."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import psutil
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.embedded.postgres import PostgresServer
from app.embedded.sockets import socket_folder
from app.kernel.config import Settings
from app.main import create_app
from tests.conftest import FAST_SETTINGS, running
from tests.databases import own_database
from tests.live_api import LiveApi, live_api
from tests.waiting import until
from workers.health import HealthDoor
from workers.pulse import Pulse

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def served(data_dir: Path, url: str, broker: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The application on a database that may be in any state."""
    settings = Settings(
        data_dir=data_dir,
        database_url=SecretStr(url),
        broker_url=SecretStr(broker),
        allowed_hosts=["*"],
    )
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api") as client,
    ):
        yield client


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with own_database(postgres_url) as url, live_api(tmp_path, url, broker_url) as api:
        yield api


async def ready(client: httpx2.AsyncClient) -> httpx2.Response:
    return await client.get("http://api/readyz")


async def refused(client: httpx2.AsyncClient) -> dict[str, str]:
    """The checks of one that says it is not ready, as such answers are."""
    answer = await ready(client)
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    problem = answer.json()
    assert problem["code"] == "not_ready"
    assert problem["retryable"]
    wrong = [words for words in problem["checks"].values() if words != "ok"]
    assert problem["detail"] == " ".join(wrong)
    assert (await client.get("http://api/healthz")).status_code == 200
    checks: dict[str, str] = problem["checks"]
    return checks


async def test_ready_when_everything_is_there(api: LiveApi) -> None:
    async def is_ready() -> bool:
        return bool((await ready(api.client)).json()["status"] == "ready")

    await until(is_ready)
    checks = (await ready(api.client)).json()["checks"]
    assert checks == {"database": "ok", "object_store": "ok", "broker": "ok"}


def test_a_database_that_is_empty_stands_still_or_is_gone_is_named(
    tmp_path: Path, broker_url: str
) -> None:
    server = PostgresServer(
        data_dir=tmp_path / "postgres",
        socket_dir=socket_folder(tmp_path) / "postgres",
        settings=FAST_SETTINGS,
    )
    server.prepare()

    async def look() -> None:
        async with served(tmp_path / "data", server.url(), broker_url) as client:
            with running(server.spec(), is_ready=server.is_ready_now) as process:
                assert "run trainwright migrate" in (await refused(client))["database"]
                with stopped(process.pid):
                    assert "No answer within" in (await refused(client))["database"]
            assert "cannot be reached" in (await refused(client))["database"]

    asyncio.run(look())


def stopped(pid: int) -> "Stopped":
    return Stopped(psutil.Process(pid))


class Stopped:
    """A server of which no process goes on for the length of the block."""

    def __init__(self, process: psutil.Process) -> None:
        self._family = [process, *process.children(recursive=True)]

    def __enter__(self) -> None:
        for process in self._family:
            process.send_signal(signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        for process in self._family:
            process.send_signal(signal.SIGCONT)


async def test_an_older_schema_is_not_enough_and_a_newer_one_is(api: LiveApi) -> None:
    for revision, is_enough in (("5d2c8a1e7f40", False), ("of_a_later_release", True)):
        async with api.database.session() as session:
            await session.execute(
                text("UPDATE alembic_version SET version_num = :to"), {"to": revision}
            )
        if is_enough:
            assert (await ready(api.client)).status_code == 200
        else:
            assert f"schema is {revision}" in (await refused(api.client))["database"]


async def test_a_store_that_cannot_be_written_to_is_named(api: LiveApi) -> None:
    incoming = api.objects.root / "incoming"
    incoming.rename(incoming.with_name("elsewhere"))

    checks = await refused(api.client)

    assert "cannot be written to: No such file or directory" in checks["object_store"]
    assert checks["database"] == "ok"
    incoming.with_name("elsewhere").rename(incoming)

    async def is_ready() -> bool:
        return (await ready(api.client)).status_code == 200

    await until(is_ready)


async def test_without_the_broker_it_is_degraded_and_serves(
    tmp_path: Path, postgres_url: str
) -> None:
    nowhere = f"redis+socket://{tmp_path}/nobody.sock"
    async with live_api(tmp_path, postgres_url, nowhere) as api:
        answer = await ready(api.client)
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert "polling goes on" in answer.json()["checks"]["broker"]


@pytest.fixture
def pulse() -> Pulse:
    return Pulse(patience_seconds=2)


@pytest.fixture
def door(pulse: Pulse) -> Iterator[httpx2.Client]:
    """Asks a worker's door; it blocks the loop, so the client is made before the time counts."""
    door = HealthDoor("127.0.0.1:0", pulse, list)
    with httpx2.Client(base_url=f"http://127.0.0.1:{door.port}", trust_env=False) as client:
        yield client
    door.close()


async def test_a_workers_door_has_addresses_of_both_kinds(pulse: Pulse) -> None:
    door = HealthDoor("[::1]:0", pulse, list)
    address = f"http://[::1]:{door.port}/nowhere"
    answer = await asyncio.to_thread(httpx2.get, address, trust_env=False)
    door.close()
    assert answer.status_code == 404


async def test_a_worker_whose_loop_stands_still_is_not_alive(
    pulse: Pulse, door: httpx2.Client
) -> None:
    def status(path: str) -> int:
        return door.get(path).status_code

    beating = asyncio.create_task(pulse.beat())
    await asyncio.sleep(0)
    assert status("/healthz") == 200
    beating.cancel()

    async def is_dead() -> bool:
        return status("/healthz") == 503

    await until(is_dead)


async def test_a_worker_is_ready_while_it_finds_out_what_is_due(
    pulse: Pulse, door: httpx2.Client
) -> None:
    def problem() -> dict[str, str]:
        answer = door.get("/readyz")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        found: dict[str, str] = answer.json()
        assert found["code"] == "not_ready"
        return found

    assert "has not looked" in problem()["detail"]
    pulse.note_look()
    assert door.get("/readyz").status_code == 200
    pulse.note_failed_look("the database is away")

    async def is_away() -> bool:
        return door.get("/readyz").status_code == 503

    await until(is_away)
    assert "the database is away" in problem()["detail"]
    figures = door.get("/metrics").text
    assert 'trainwright_polls_total{outcome="failed"}' in figures
    assert door.get("/elsewhere").status_code == 404
