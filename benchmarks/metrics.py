"""Logging of metrics over HTTP beside the bare floor, on the same PostgreSQL, in turns."""

import http.client
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.embedded.layout import Layout
from benchmarks.figure import Figure, over_floor
from benchmarks.floor import floor_server, make_tables
from benchmarks.made import a_run
from examples.walk.stack import Stack
from examples.walk.talk import StepError

_ROUNDS = 7
_ROUND_SECONDS = 1.0
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
        dsn = _dsn(stack)
        make_tables(dsn)
        with floor_server(dsn) as floor:
            ours = _Client(stack.address, stack.token)
            bare = _Client(floor, stack.token)
            single = _in_turns(_logging(ours, path, 1), _bare(bare, "/metric", 1))
            batch = _in_turns(_logging(ours, path, _BATCH), _bare(bare, "/metrics", _BATCH))
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return [
        over_floor("log_metric", value=single[0], unit="requests/s", floor=single[1]),
        over_floor("log_batch", value=batch[0] * _BATCH, unit="metrics/s", floor=batch[1] * _BATCH),
    ]


class _Client:
    """One kept-alive connection; as little work as can be between two requests."""

    def __init__(self, address: str, token: str) -> None:
        parts = urlsplit(address)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def post(self, path: str, body: Any) -> None:
        self._connection.request("POST", path, json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise StepError(f"POST {path} was answered {answer.status}: {text[:500]!r}")


def _logging(client: _Client, path: str, size: int) -> Callable[[int], None]:
    def log(number: int) -> None:
        first = number * size
        body = {"source": f"bench{size}", "first_seq": first, "values": _values(first, size)}
        client.post(path, body)

    return log


def _bare(client: _Client, path: str, size: int) -> Callable[[int], None]:
    def log(number: int) -> None:
        values = _values(number * size, size)
        client.post(path, values[0] if size == 1 else {"values": values})

    return log


def _values(first: int, size: int) -> list[dict[str, Any]]:
    return [{"name": "loss", "value": 1.0 / (step + 1), "step": step} for step in
            range(first, first + size)]  # fmt: skip


def _in_turns(*calls: Callable[[int], None]) -> list[float]:
    """Median calls a second of each, in rounds of all of them."""
    rates: list[list[float]] = [[] for _ in calls]
    numbers = [0] * len(calls)
    for _ in range(_ROUNDS):
        for place, call in enumerate(calls):
            began, before = time.perf_counter(), numbers[place]
            while time.perf_counter() - began < _ROUND_SECONDS:
                call(numbers[place])
                numbers[place] += 1
            seconds = time.perf_counter() - began
            rates[place].append((numbers[place] - before) / seconds)
    return [statistics.median(found[1:]) for found in rates]


def _dsn(stack: Stack) -> str:
    return Layout(stack.data_dir).postgres.url().replace("+psycopg", "")
