"""The API's own small requests beside the bare floor, on the same PostgreSQL, in turns."""

import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.client import Client
from benchmarks.figure import Figure, over_floor
from benchmarks.floor import floor_server, make_tables
from benchmarks.list_latency import fill_with_runs
from benchmarks.made import WORKSPACE, a_run, dsn_of
from benchmarks.turns import in_turns
from examples.walk.stack import Stack

_RUNS = 10_000
_PAGE = 100


def measure() -> list[Figure]:
    """Start a stack of its own and measure on it, one client with one connection.

    Returns:
        ``health``, ``get_own_run``, ``list_100_of_10000``, ``submit_run`` and ``list_as_much`` in
        requests a second, over the floor's. The floor's list has rows of next to nothing for the
        one, and the same documents as ours for ``list_as_much``. A submission comes with a key of
        its own, and what the worker makes of the runs goes on meanwhile on the same machine.

    Raises:
        StepError: a request was refused.
    """
    folder = Path(tempfile.mkdtemp(prefix="trainwright-bench-"))
    # Limits are for callers who do nothing else than ask.
    stack = Stack(folder / "data", settings={"TRAINWRIGHT_RATE_LIMITS": '{"submit": ""}'})
    try:
        stack.start()
        run = a_run(stack)
        dsn = dsn_of(stack)
        make_tables(dsn)
        ours = Client(stack.address, stack.token)
        ours.post(f"{run}/cancel", {})
        fill_with_runs(dsn, run.rpartition("/")[2], first=0, count=_RUNS)
        with floor_server(dsn) as address:
            floor = Client(address, stack.token)
            made = [floor.post("/runs", {})["id"] for _ in range(_PAGE)]
            lists = (
                lambda _: ours.get(f"{WORKSPACE}/runs?page_size={_PAGE}"),
                lambda _: floor.get("/runs"),
            )
            pairs: dict[str, tuple[Callable[[int], object], Callable[[int], object]]] = {
                "health": (lambda _: ours.get("/healthz"), lambda _: floor.get("/health")),
                "get_own_run": (lambda _: ours.get(run), lambda _: floor.get(f"/runs/{made[0]}")),
                "list_100_of_10000": lists,
                "submit_run": (_submit(ours, run), lambda _: floor.post("/runs", {})),
            }
            rates = {name: in_turns(*calls) for name, calls in pairs.items()}
            for shown in lists[0](0)["items"]:
                floor.post("/runs", shown)
            rates["list_as_much"] = in_turns(*lists)
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return [
        over_floor(name, value=mine, unit="requests/s", floor=possible)
        for name, (mine, possible) in rates.items()
    ]


def _submit(client: Client, run: str) -> Callable[[int], object]:
    body = {
        "experiment_name": "bench",
        "snapshot_id": client.get(run)["snapshot_id"],
        "cluster_name": "none",
        "command": "true",
    }

    def submit(number: int) -> object:
        key = {"Idempotency-Key": secrets.token_hex(8)}
        return client.post(f"{WORKSPACE}/runs", body, headers=key)

    return submit
