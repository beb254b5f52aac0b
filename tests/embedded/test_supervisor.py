"""The supervisor with stand-in children."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from app.embedded.children import ChildSpec
from app.embedded.errors import ChildFailed
from app.embedded.logs import ChildLog
from app.embedded.supervisor import Supervisor

pytestmark = pytest.mark.anyio

DEADLINE_SECONDS = 60.0
WRITES_ITS_PID = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()} '); "
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "


def child(name: str, code: str, *arguments: str, **settings: object) -> ChildSpec:
    """Return a child that runs Python code."""
    argv = (sys.executable, "-I", "-S", "-c", code, *arguments)
    return ChildSpec(name=name, argv=argv, **settings)  # type: ignore[arg-type]


@asynccontextmanager
async def supervising(folder: Path, said: list[str]) -> AsyncIterator[Supervisor]:
    """Return a supervisor that is stopped at the end."""
    supervisor = Supervisor(folder / "logs", report=said.append)
    try:
        yield supervisor
    finally:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await supervisor.stop()


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until `is_so`, within the deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_start_waits_for_readiness(tmp_path: Path) -> None:
    mark = tmp_path / "ready"

    async def is_ready() -> bool:
        return mark.exists()

    code = "import sys, time; time.sleep(0.3); open(sys.argv[1], 'w'); time.sleep(60)"
    async with supervising(tmp_path, []) as supervisor:
        await supervisor.start(child("slow", code, str(mark), is_ready=is_ready))
        assert mark.exists()


async def test_child_that_dies_is_started_again_with_growing_delays(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    said: list[str] = []
    async with supervising(tmp_path, said) as supervisor:
        await supervisor.start(child("brief", WRITES_ITS_PID + "sys.exit(3)", str(pids)))
        await until(lambda: len(said) >= 3)
    assert len(set(pids.read_text().split())) >= 3
    assert said[0] == "brief ended with code 3; restart in 0.1 s"
    assert said[1] == "brief ended with code 3; restart in 0.2 s"
    assert said[2] == "brief ended with code 3; restart in 0.4 s"


async def test_child_that_never_gets_ready_fails_the_start_with_its_last_words(
    tmp_path: Path,
) -> None:
    async def is_ready() -> bool:
        return False

    code = "import sys; sys.exit('no such module')"
    async with supervising(tmp_path, []) as supervisor:
        with pytest.raises(ChildFailed, match=r"(?s)bad ended with code 1.*no such module"):
            await supervisor.start(child("bad", code, is_ready=is_ready))


@pytest.mark.fault(9)
async def test_stop_is_in_reverse_order_and_kills_the_stubborn(tmp_path: Path) -> None:
    order = tmp_path / "order"
    polite = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    open(sys.argv[1], 'a').write(sys.argv[2] + ' '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); open(sys.argv[1] + sys.argv[2], 'w')\n"
        "while True: time.sleep(60)"
    )
    deaf = STUBBORN + WRITES_ITS_PID + "time.sleep(60)"
    async with supervising(tmp_path, []) as supervisor:
        await supervisor.start(child("first", polite, str(order), "first"))
        await supervisor.start(
            child("second", polite, str(order), "second"),
            child("deaf", deaf, str(tmp_path / "deaf"), stop_seconds=0.2),
        )
        names = ("orderfirst", "ordersecond", "deaf")
        await until(lambda: all((tmp_path / name).exists() for name in names))
        await until(lambda: (tmp_path / "deaf").read_text() != "")
    assert order.read_text() == "second first "
    assert not psutil.pid_exists(int((tmp_path / "deaf").read_text()))


@pytest.mark.fault(9)
async def test_hurry_shortens_the_deadline(tmp_path: Path) -> None:
    deaf = STUBBORN + WRITES_ITS_PID + "time.sleep(600)"
    async with supervising(tmp_path, []) as supervisor:
        await supervisor.start(child("deaf", deaf, str(tmp_path / "deaf"), stop_seconds=600.0))
        await until((tmp_path / "deaf").exists)
        supervisor.hurry()


async def test_children_are_out_of_reach_of_the_terminal(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    async with supervising(tmp_path, []) as supervisor:
        await supervisor.start(child("own", WRITES_ITS_PID + "time.sleep(60)", str(pids)))
        await until(lambda: pids.exists() and pids.read_text() != "")
        assert os.getsid(int(pids.read_text())) != os.getsid(0)


async def test_one_shot_returns_its_output_and_keeps_its_errors(tmp_path: Path) -> None:
    code = "import sys; print('result'); print('trouble', file=sys.stderr); sys.exit({})"
    async with supervising(tmp_path, []) as supervisor:
        assert await supervisor.run_once(child("once", code.format(0))) == b"result\n"
        assert (tmp_path / "logs" / "once.log").read_text() == "trouble\n"
        with pytest.raises(ChildFailed, match=r"(?s)once ended with code 4.*trouble"):
            await supervisor.run_once(child("once", code.format(4)))


async def test_program_that_cannot_be_executed_is_named(tmp_path: Path) -> None:
    missing = ChildSpec(name="gone", argv=("/no/such/program",))
    async with supervising(tmp_path, []) as supervisor:
        with pytest.raises(ChildFailed, match="cannot execute /no/such/program"):
            await supervisor.run_once(missing)


async def test_children_die_with_the_supervisor(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from app.embedded.children import ChildSpec\n"
        "from app.embedded.supervisor import Supervisor\n"
        "async def main():\n"
        "    supervisor = Supervisor(Path(sys.argv[1]), report=print)\n"
        "    argv = (sys.executable, '-I', '-S', '-c', sys.argv[2], sys.argv[3])\n"
        "    await supervisor.start(ChildSpec(name='child', argv=argv))\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    arguments = (str(tmp_path / "logs"), WRITES_ITS_PID + "time.sleep(60)", str(pids))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, *arguments)
    await until(lambda: pids.exists() and pids.read_text() != "")
    process.send_signal(signal.SIGKILL)
    await process.wait()
    orphan = int(pids.read_text())
    await until(lambda: not psutil.pid_exists(orphan))


def test_full_log_makes_way(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "a.log", max_bytes=10, kept_files=2)
    for number in range(5):
        log.write(b"line number %d\n" % number)
    log.close()
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {
        "a.log": "",
        "a.log.1": "line number 4\n",
        "a.log.2": "line number 3\n",
    }
    assert log.tail().splitlines() == [f"line number {number}" for number in range(5)]
