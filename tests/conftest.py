"""Fixtures for every test: the embedded servers, started once per session (and xdist worker)."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from app.embedded.broker import BrokerServer
from app.embedded.children import ChildSpec, command_line
from app.embedded.postgres import PostgresServer
from app.embedded.sockets import socket_folder
from tests import docker_engine
from tests.auth.provider import NO_PROVIDER
from tests.compose.program import NO_COMPOSE
from tests.databases import keep_template
from tests.faults.clocks import NO_COMPILER
from tests.health.figures import NO_PROMTOOL
from tests.machines import NO_MACHINES
from tests.storage.buckets import NO_NPM
from tests.supply_chain.advisories import NO_ADVISORIES
from tests.swarm import Swarm, two_engines
from tests.together import Together, turn

REPOSITORY = Path(__file__).parent.parent
# Speed for safety: what a test database holds need not survive a power cut.
FAST_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# How long an example takes to draw and to try says how busy the machine is, and no more. The same
# examples each time, so that a change is what makes them fail; `make explore` draws others.
_BUSY: Any = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", **_BUSY, derandomize=True)
settings.register_profile("explore", **_BUSY, max_examples=5000, print_blob=True)
settings.load_profile("same")

_NO_ENGINE = "no Docker engine answers"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Share the tests out to several processes."""
    return Together(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a Docker engine where none answers."""
    if hasattr(config, "workerinput"):
        # As they are shared out.
        items.sort(key=lambda item: turn(item.nodeid))
    needing = [item for item in items if item.get_closest_marker("docker")]
    if needing and not docker_engine.answers():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason=_NO_ENGINE))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was left out."""
    skipped = terminalreporter.stats.get("skipped", [])
    left_out = {
        _NO_ENGINE: f"tests need a Docker engine, and none answers at {docker_engine.DOCKER_URL}: "
        "nodes as containers were NOT tested.",
        NO_MACHINES: f"tests need engines of their own, and {NO_MACHINES}: "
        "engines that restart or go away, and runs across engines, were NOT tested.",
        docker_engine.NO_BASE_IMAGE: "tests need a base image, and "
        f"{docker_engine.NO_BASE_IMAGE}: nodes as containers were NOT tested.",
        NO_COMPOSE: f"tests need Docker Compose, and {NO_COMPOSE}: "
        "the compose file and the image of Trainwright were NOT tested.",
        NO_ADVISORIES: f"test looks the lock up among known vulnerabilities, and {NO_ADVISORIES}: "
        "whether one is known was NOT checked.",
        NO_PROVIDER: f"tests need a sign-in provider from npm, and {NO_PROVIDER}: "
        "signing in was NOT tested.",
        NO_PROMTOOL: f"tests check rules for alerts with promtool, and {NO_PROMTOOL}: "
        "whether the rules do what they say was NOT tested.",
        NO_COMPILER: f"tests set clocks wrong with a library, and {NO_COMPILER}: "
        "machines whose clocks are wrong were NOT tested.",
        NO_NPM: f"tests need a server from npm, and {NO_NPM}: "
        "the object store in Azure Blob was NOT tested.",
    }
    for reason, words in left_out.items():
        count = sum(reason in str(report.longrepr) for report in skipped)
        if count:
            terminalreporter.section("LEFT OUT", sep="!", red=True, bold=True)
            terminalreporter.line(f"{count} {words}", red=True)


@pytest.fixture(scope="session")
def docker_image() -> str:
    """Return the id of a small image with Python."""
    try:
        return docker_engine.base_image()
    except docker_engine.NoBaseImage as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def swarm(docker_image: str) -> Iterator[Swarm]:
    """Start two engines that are one swarm; whatever a test changes there it puts back."""
    with two_engines() as found:
        yield found


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio, as the product does."""
    return "asyncio"


@pytest.fixture(scope="session")
def stack_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder of this session's servers."""
    return tmp_path_factory.mktemp("stack").resolve()


@pytest.fixture(scope="session")
def postgres_server(stack_folder: Path) -> Iterator[PostgresServer]:
    """Start a PostgreSQL for this session; its database is empty."""
    server = PostgresServer(
        data_dir=stack_folder / "postgres",
        socket_dir=socket_folder(stack_folder) / "postgres",
        settings=FAST_SETTINGS,
    )
    server.prepare()
    with running(server.spec(), is_ready=server.is_ready_now):
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """Return the address of this session's database, made by the migrations where there are any."""
    url = postgres_server.url()
    migrated(url)
    asyncio.run(keep_template(url))
    return url


def migrated(postgres_url: str) -> None:
    """Bring an empty database to the present version."""
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "TRAINWRIGHT_DATABASE_URL": postgres_url},
        check=True,
        timeout=300,
    )


@pytest.fixture(scope="session")
def broker_url(stack_folder: Path) -> Iterator[str]:
    """Start a broker for this session and return its address."""
    server = BrokerServer(socket_path=socket_folder(stack_folder) / "broker.sock")
    with running(server.spec(), is_ready=lambda: asyncio.run(server.is_ready())):
        yield server.url


@contextmanager
def running(spec: ChildSpec, *, is_ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child outside a supervisor; it ends with the block, or with pytest."""
    process = subprocess.Popen(
        command_line(spec.argv, account=spec.account, death_signal=spec.death_signal),
        env=dict(spec.env),
        cwd=spec.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + spec.ready_seconds
        while not is_ready():
            assert process.poll() is None, f"{spec.name} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{spec.name} is not ready in time"
            time.sleep(0.02)
        yield process
    finally:
        process.send_signal(spec.stop_signal)
        try:
            process.wait(timeout=spec.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
