"""A database that takes long to start, as after a power cut, is waited for."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.embedded import stack
from app.embedded import supervisor as supervisors
from app.embedded.children import ChildSpec
from app.embedded.claims import listen
from app.embedded.layout import Layout
from app.embedded.supervisor import Supervisor
from tests.embedded.test_supervisor import WRITES_ITS_PID, child, supervising, until

pytestmark = pytest.mark.anyio
_SLEEPS = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the supervisor goes by, which stands still unless a test moves it."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(supervisors, "time", clock)
    return clock


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A data folder that has had its migrations."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    layout = Layout(tmp_path)
    layout.postgres.data_dir.mkdir()
    (layout.postgres.data_dir / "PG_VERSION").write_text("18\n")
    layout.remember_migrated()
    return layout


async def test_a_database_that_replays_for_long_is_not_interrupted(
    layout: Layout, clock: SimpleNamespace
) -> None:
    async def is_ready() -> bool:
        clock.now += 50
        return bool(clock.now > 100)

    said: list[str] = []
    spec = layout.postgres.spec()
    replaying = replace(spec, argv=_SLEEPS, account=None, prepare=None, is_ready=is_ready)
    async with supervising(layout.data_dir, said) as supervisor:
        await supervisor.start(replaying)

    log = layout.log_dir / "postgres.log"
    assert said == [f"postgres has been starting for 50 s; what it does is in {log}"]


async def test_the_time_of_a_child_begins_when_what_it_needs_is_there(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    servers = asyncio.Event()
    pids = tmp_path / "pids"

    async def is_ready() -> bool:
        return servers.is_set()

    said: list[str] = []
    code = WRITES_ITS_PID + "time.sleep(600)"
    service = child("service", code, str(pids), needs=servers.wait, is_ready=is_ready)
    async with supervising(tmp_path, said) as supervisor:
        starting = asyncio.create_task(supervisor.start(service))
        await until(lambda: pids.exists() and pids.read_text() != "")
        clock.now += 3600
        servers.set()
        await starting

    assert len(pids.read_text().split()) == 1
    assert said == []


class Listing(Supervisor):
    """Starts nothing; the servers are ready when a test says so."""

    def __init__(self, log_dir: Path) -> None:
        super().__init__(log_dir, report=print)
        self.specs: dict[str, ChildSpec] = {}
        self.servers = asyncio.Event()

    async def start(self, *specs: ChildSpec) -> None:
        self.specs.update({spec.name: spec for spec in specs})
        if "postgres" in {spec.name for spec in specs}:
            await self.servers.wait()


async def test_the_api_needs_the_servers(layout: Layout) -> None:
    supervisor = Listing(layout.log_dir)
    with listen("127.0.0.1", 0) as listener:
        doors = stack._Doors("127.0.0.1", listener, None, 0)
        starting = asyncio.create_task(stack._start(supervisor, layout, doors))
        await until(lambda: "api" in supervisor.specs)
        needs = supervisor.specs["api"].needs
        assert needs is not None
        waiting = asyncio.ensure_future(needs())
        await asyncio.sleep(0)
        assert not waiting.done()

        supervisor.servers.set()

        await waiting
        await starting
