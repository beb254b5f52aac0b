"""How long a page of the newest hundred runs takes, of a thousand runs and of a million."""

import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.client import Client
from benchmarks.figure import Figure, over_floor
from benchmarks.made import WORKSPACE, a_run, dsn_of
from benchmarks.seeding import copy_rows
from examples.walk.stack import Stack

_SMALL, _LARGE = 1_000, 1_000_000
_REPETITIONS = 60
_PAGE = f"{WORKSPACE}/runs?page_size=100"


def measure() -> list[Figure]:
    """Start a stack of its own, fill it with runs that are over, and ask for pages.

    Returns:
        ``list_latency``: median milliseconds of the first page of a million, over that of a
        thousand; ``list_latency_deep``: the same of a page in the middle of the million.

    Raises:
        StepError: a request was refused.
    """
    folder = Path(tempfile.mkdtemp(prefix="trainwright-bench-"))
    stack = Stack(folder / "data")
    try:
        stack.start()
        run = a_run(stack).rpartition("/")[2]
        client = Client(stack.address, stack.token)
        client.post(f"{WORKSPACE}/runs/{run}/cancel", {})
        fill_with_runs(dsn_of(stack), run, first=0, count=_SMALL)
        small = _median_milliseconds(client, _PAGE)
        fill_with_runs(dsn_of(stack), run, first=_SMALL, count=_LARGE - _SMALL)
        large = _median_milliseconds(client, _PAGE)
        # A page's token names the row it follows; whoever walks a list gets to the middle so.
        deep = _median_milliseconds(client, f"{_PAGE}&page_token={_token_after(client, 20)}")
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return [
        over_floor("list_latency", value=large, unit="ms", floor=small),
        over_floor("list_latency_deep", value=deep, unit="ms", floor=small),
    ]


def fill_with_runs(dsn: str, run: str, *, first: int, count: int) -> None:
    """Copy a run as others that are over; see `copy_rows`."""
    over = {
        "id": "'run_' || lpad(n::text, 26, '0')",
        "status": "'Completed'",
        "next_check_at": "NULL",
        "blockers": "'[]'",
    }
    copy_rows(dsn, "runs", where=f"id = '{run}'", changed=over, first=first, count=count)


def _token_after(client: Client, pages: int) -> str:
    token = ""
    for _ in range(pages):
        token = client.get(f"{_PAGE}&page_token={token}")["next_page_token"]
    return token


def _median_milliseconds(client: Client, path: str) -> float:
    samples = []
    for _ in range(_REPETITIONS):
        began = time.perf_counter()
        assert len(client.get(path)["items"]) == 100
        samples.append(1000 * (time.perf_counter() - began))
    return statistics.median(samples[5:])
