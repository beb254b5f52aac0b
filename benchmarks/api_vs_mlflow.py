"""The same requests of MLflow's protocol to Trainwright and to a real MLflow server, in turns,
on the same PostgreSQL; beside them the bare floor, where there is one.

Needs a package index: MLflow is installed into the build folder once.
"""

import asyncio
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from app.embedded.layout import Layout
from benchmarks.client import Client
from benchmarks.figure import Figure, over_floor
from benchmarks.floor import floor_server, make_tables
from benchmarks.made import WORKSPACE, a_run, dsn_of
from benchmarks.mlflow_server import mlflow_server
from benchmarks.seeding import copy_rows
from benchmarks.turns import in_turns
from examples.walk.stack import Stack

_DATABASE = "mlflow_bench"
_PROTOCOL = "/api/2.0/mlflow"
_BATCH = 100
_SEARCHED = (10_000, 100_000)
_FILE_BYTES = 200 * 1024 * 1024
_names = itertools.count()


@dataclass(frozen=True)
class _Tracked:
    """A server of the protocol with a run on it that has one metric."""

    client: Client
    experiment: str
    run: str
    files: str


def measure() -> list[Figure]:
    """Start everything and measure, one client with one connection to each.

    Returns:
        ``create_run``, ``log_metric``, ``log_batch``, ``get_run``, ``upload_200MB`` and
        ``download_200MB`` over the floor; and each of them, and ``search_10000`` and
        ``search_100000``, over MLflow's server with ``_vs_mlflow`` at its name.

    Raises:
        StepError: a request was refused.
        RuntimeError: a server did not start.
    """
    with _servers() as (dsn, their_dsn, ours, theirs, floor):
        figures = _small_requests(ours, theirs, floor)
        figures += _files(ours, theirs, floor)
        first = 0
        for count in _SEARCHED:
            _seed_ours(dsn, ours.run, first=first, count=count - first)
            _seed_theirs(their_dsn, theirs.run, first=first, count=count - first)
            first = count
            mine, peer = in_turns(_search(ours), _search(theirs), rounds=5)
            name = f"search_{count}_vs_mlflow"
            figures.append(over_floor(name, value=mine, unit="requests/s", floor=peer))
    return figures


@contextmanager
def _servers() -> Iterator[tuple[str, str, _Tracked, _Tracked, Client]]:
    folder = Path(tempfile.mkdtemp(prefix="trainwright-bench-"))
    stack = Stack(folder / "data")
    try:
        stack.start()
        a_run(stack)
        dsn = dsn_of(stack)
        make_tables(dsn)
        postgres = Layout(stack.data_dir).postgres
        asyncio.run(_make_database(dsn))
        their_url = postgres.url(_DATABASE).replace("+psycopg", "+psycopg2")
        with mlflow_server(their_url, folder) as peer, floor_server(dsn, folder) as floor:
            prefix = f"{WORKSPACE}/mlflow"
            yield (
                dsn,
                their_url.replace("+psycopg2", ""),
                _tracked(Client(stack.address, stack.token, prefix)),
                _tracked(Client(peer, stack.token)),
                Client(floor, stack.token),
            )
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _make_database(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"CREATE DATABASE {_DATABASE}")
    await connection.close()


def _tracked(client: Client) -> _Tracked:
    made = client.post(f"{_PROTOCOL}/experiments/create", {"name": "peers"})
    experiment = str(made["experiment_id"])
    run = client.post(f"{_PROTOCOL}/runs/create", {"experiment_id": experiment})["run"]
    client.post(f"{_PROTOCOL}/runs/log-metric", _metric(run["info"]["run_id"], 0))
    root = run["info"]["artifact_uri"].partition(":/")[2]
    return _Tracked(
        client=client,
        experiment=experiment,
        run=run["info"]["run_id"],
        files=f"/api/2.0/mlflow-artifacts/artifacts/{root}",
    )


def _small_requests(ours: _Tracked, theirs: _Tracked, floor: Client) -> list[Figure]:
    bare = floor.post("/runs", {"experiment_id": ours.experiment})["id"]
    operations: dict[str, tuple[Callable[[_Tracked], Callable[[int], object]], object, int]] = {
        "create_run": (_create, lambda n: floor.post("/runs", {"experiment_id": "1"}), 1),
        "log_metric": (_log_one, lambda n: floor.post("/metric", _value(n)), 1),
        "log_batch": (
            _log_batch,
            lambda n: floor.post("/metrics", {"values": [_value(n)] * _BATCH}),
            _BATCH,
        ),
        "get_run": (_get, lambda n: floor.get(f"/runs/{bare}"), 1),
    }
    figures = []
    for name, (operation, at_floor, size) in operations.items():
        assert callable(at_floor)
        rates = in_turns(operation(ours), operation(theirs), at_floor)
        mine, peer, possible = (rate * size for rate in rates)
        unit = "requests/s" if size == 1 else "metrics/s"
        figures.append(over_floor(name, value=mine, unit=unit, floor=possible))
        figures.append(over_floor(f"{name}_vs_mlflow", value=mine, unit=unit, floor=peer))
    return figures


def _files(ours: _Tracked, theirs: _Tracked, floor: Client) -> list[Figure]:
    """Megabytes a second of a file of random bytes, up and down, the best of three."""
    up: list[list[float]] = [[], [], []]
    down: list[list[float]] = [[], [], []]
    for _ in range(3):
        data = Path("/dev/urandom").open("rb").read(_FILE_BYTES)  # noqa: SIM115
        name = f"file{next(_names)}"
        places = (
            (ours.client, f"{ours.files}/{name}"),
            (theirs.client, f"{theirs.files}/{name}"),
            (floor, f"/files/{name}"),
        )
        for number, (client, path) in enumerate(places):
            began = time.perf_counter()
            client.put(path, data)
            put = time.perf_counter()
            assert client.read(path) == _FILE_BYTES
            up[number].append(_FILE_BYTES / 1e6 / (put - began))
            down[number].append(_FILE_BYTES / 1e6 / (time.perf_counter() - put))
    figures = []
    for name, rates in (("upload_200MB", up), ("download_200MB", down)):
        mine, peer, possible = (max(found) for found in rates)
        figures.append(over_floor(name, value=mine, unit="MB/s", floor=possible))
        figures.append(over_floor(f"{name}_vs_mlflow", value=mine, unit="MB/s", floor=peer))
    return figures


def _create(server: _Tracked) -> Callable[[int], object]:
    body = {"experiment_id": server.experiment, "start_time": int(time.time() * 1000)}
    return lambda number: server.client.post(f"{_PROTOCOL}/runs/create", body)


def _log_one(server: _Tracked) -> Callable[[int], object]:
    return lambda number: server.client.post(
        f"{_PROTOCOL}/runs/log-metric", _metric(server.run, number + 1)
    )


def _log_batch(server: _Tracked) -> Callable[[int], object]:
    def log(number: int) -> object:
        first = 1_000_000 + number * _BATCH
        values = [_metric(server.run, step) for step in range(first, first + _BATCH)]
        for value in values:
            del value["run_id"]
        body = {"run_id": server.run, "metrics": values}
        return server.client.post(f"{_PROTOCOL}/runs/log-batch", body)

    return log


def _get(server: _Tracked) -> Callable[[int], object]:
    return lambda number: server.client.get(f"{_PROTOCOL}/runs/get?run_id={server.run}")


def _search(server: _Tracked) -> Callable[[int], object]:
    def search(number: int) -> object:
        body = {
            "experiment_ids": [server.experiment],
            "filter": "metrics.loss < 0.5",
            "order_by": ["metrics.loss ASC"],
            "max_results": 100,
        }
        found = server.client.post(f"{_PROTOCOL}/runs/search", body)["runs"]
        assert len(found) == 100
        return found

    return search


def _metric(run: str, step: int) -> dict[str, object]:
    at = int(time.time() * 1000)
    return {"run_id": run, "key": "loss", "value": 1 / (step + 1), "timestamp": at, "step": step}


def _value(step: int) -> dict[str, object]:
    return {"name": "loss", "value": 1 / (step + 1), "step": step}


def _seed_ours(dsn: str, run: str, *, first: int, count: int) -> None:
    new = "'seed_' || n"
    copy_rows(dsn, "runs", where=f"id = '{run}'", changed={"id": new}, first=first, count=count)
    value = {"run_id": new, "last": "random()", "min": "0", "max": "1"}
    copy_rows(
        dsn, "metric_summaries", where=f"run_id = '{run}'", changed=value, first=first, count=count
    )


def _seed_theirs(dsn: str, run: str, *, first: int, count: int) -> None:
    new = "'seed' || n"
    where = f"run_uuid = '{run}'"
    copy_rows(dsn, "runs", where=where, changed={"run_uuid": new}, first=first, count=count)
    value = {"run_uuid": new, "value": "random()"}
    copy_rows(dsn, "latest_metrics", where=where, changed=value, first=first, count=count)
