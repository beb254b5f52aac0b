"""How long the whole embedded stack takes to answer, and what it holds in memory when idle.

The floor is a bare FastAPI server with a pool of connections, beside the same database.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.figure import Figure, over_floor
from benchmarks.floor import floor_server, make_tables
from benchmarks.made import dsn_of
from examples.walk.stack import Stack

_WARM_STARTS = 3
_IDLE_SECONDS = 20.0
_MB = 1024 * 1024


def measure() -> list[Figure]:
    """Start a stack of its own again and again: first on an empty folder, then on what it left.

    Returns:
        ``first_start`` and ``warm_start_up``: seconds until it is ready; and ``idle_memory``: MB of
        all of its processes, where what several of them share counts once (PSS). The floor's is
        that of its one process, without the database.

    Raises:
        StackError: it did not start or stop.
    """
    folder = Path(tempfile.mkdtemp(prefix="trainwright-bench-"))
    stack = Stack(folder / "data")
    starts: list[float] = []
    try:
        for _ in range(1 + _WARM_STARTS):
            stack.stop()
            stack = Stack(folder / "data")
            starts.append(_seconds(stack.start))
        time.sleep(_IDLE_SECONDS)
        memory = _held_mb(stack.family())
        dsn = dsn_of(stack)
        make_tables(dsn)
        began = time.perf_counter()
        with floor_server(dsn):
            bare = time.perf_counter() - began
            held = {process.pid for process in stack.family()}
            own = psutil.Process().children()
            bare_memory = _held_mb([process for process in own if process.pid not in held])
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
    first, *warm = starts
    return [
        over_floor("first_start", value=first, unit="s", floor=bare),
        over_floor("warm_start_up", value=statistics.median(warm), unit="s", floor=bare),
        over_floor("idle_memory", value=memory, unit="MB", floor=bare_memory),
    ]


def _seconds(start: Callable[[], None]) -> float:
    began = time.perf_counter()
    start()
    return time.perf_counter() - began


def _held_mb(processes: list[psutil.Process]) -> float:
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue  # a connection of the database that was closed meanwhile
    return total / _MB
