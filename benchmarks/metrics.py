"""Logging of metrics over HTTP beside the bare floor, on the same PostgreSQL, in turns."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.client import Client
from benchmarks.figure import Figure, over_floor
from benchmarks.floor import floor_server, make_tables
from benchmarks.made import a_run, dsn_of
from benchmarks.turns import in_turns
from examples.walk.stack import Stack

_BATCH = 100


def measure() -> list[Figure]:
    """Start a stack of its own and measure on it, one client with one connection.

    Returns:
        ``log_metric``: requests a second with one value each; ``log_batch``: values a second,
        a hundred in a request.

    Raises:
        StepError: a request was refused.
    """
    folder = Path(tempfile.mkdtemp(prefix="trainwright-bench-"))
    stack = Stack(folder / "data")
    try:
        stack.start()
        path = a_run(stack) + "/metrics"
        dsn = dsn_of(stack)
        make_tables(dsn)
        with floor_server(dsn) as floor:
            ours = Client(stack.address, stack.token)
            bare = Client(floor, stack.token)
            single = in_turns(_logging(ours, path, 1), _bare(bare, "/metric", 1))
            batch = in_turns(_logging(ours, path, _BATCH), _bare(bare, "/metrics", _BATCH))
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return [
        over_floor("log_metric", value=single[0], unit="requests/s", floor=single[1]),
        over_floor("log_batch", value=batch[0] * _BATCH, unit="metrics/s", floor=batch[1] * _BATCH),
    ]


def _logging(client: Client, path: str, size: int) -> Callable[[int], None]:
    def log(number: int) -> None:
        first = number * size
        body = {"source": f"bench{size}", "first_seq": first, "values": _values(first, size)}
        client.post(path, body)

    return log


def _bare(client: Client, path: str, size: int) -> Callable[[int], None]:
    def log(number: int) -> None:
        values = _values(number * size, size)
        client.post(path, values[0] if size == 1 else {"values": values})

    return log


def _values(first: int, size: int) -> list[dict[str, Any]]:
    return [{"name": "loss", "value": 1.0 / (step + 1), "step": step} for step in
            range(first, first + size)]  # fmt: skip
