"""Predictions of one deployment with one replica, through the API and at the replica itself,
beside bare calls of the same SavedModel and ``mlflow models serve`` of the same model, in turns.

Needs a package index: MLflow with TensorFlow is installed into the build folder once.
"""

import asyncio
import json
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from app.auth.signing import Signer
from app.deployments.keys import replica_token
from benchmarks.client import Client
from benchmarks.figure import Figure, over_floor
from benchmarks.made import WORKSPACE, dsn_of, packed
from benchmarks.mlflow_server import free_port, installed, running
from examples.demo import TENSORFLOW
from examples.walk.follow import TERMINAL, poll
from examples.walk.stack import Stack
from examples.walk.talk import Talk, require

_PROGRAM = Path(__file__).with_name("serving_model.py")
_PIXELS = 784
_CLIENTS = (1, 8)
_ROUNDS = 4
_ROUND_SECONDS = 2.0
_MADE_SECONDS = 600.0
_PLACES = ("api", "replica")
Ask = Callable[[int, float], list[float]]
"""From so many clients for so many seconds; the seconds that each call took."""


@dataclass(frozen=True)
class _Door:
    """A server that predicts."""

    address: str
    token: str
    path: str
    field: str

    def ask(self, clients: int, seconds: float) -> list[float]:
        """Ask one row at a time from so many connections for so long."""
        rows = random.Random(7)
        body = json.dumps({self.field: [[round(rows.random(), 4) for _ in range(_PIXELS)]]})
        data = body.encode()
        until = time.perf_counter() + seconds

        def one(_: int) -> list[float]:
            client, found = Client(self.address, self.token), []
            while (began := time.perf_counter()) < until:
                answer = client.send(self.path, data)
                found.append(time.perf_counter() - began)
            require(len(answer["predictions"][0]) == 10, f"an answer was {answer}")
            return found

        with ThreadPoolExecutor(clients) as pool:
            return [taken for part in pool.map(one, range(clients)) for taken in part]


def measure() -> list[Figure]:
    """Start everything and measure, one row of 784 numbers a request.

    Returns:
        For ``api`` and ``replica`` and 1 and 8 clients: ``serving_api_1`` in requests a second, and
        ``serving_api_1_p99`` in milliseconds, over bare calls of the model from as many threads;
        and the same over MLflow's scoring server with ``_vs_mlflow`` at their names.

    Raises:
        StepError: a request was refused, or the model could not be made or deployed.
        RuntimeError: MLflow's server did not start.
    """
    with _all_of_them() as doors:
        rates: dict[tuple[str, int], list[float]] = {}
        tails: dict[tuple[str, int], list[float]] = {}
        for number in range(_ROUNDS):
            for clients in _CLIENTS:
                for name, ask in doors.items():
                    found = ask(clients, _ROUND_SECONDS)
                    if not number:
                        continue  # caches, connections
                    key = name, clients
                    rates.setdefault(key, []).append(len(found) / _ROUND_SECONDS)
                    tails.setdefault(key, []).append(1000 * _percentile(found))
    figures = []
    for clients in _CLIENTS:
        for place in _PLACES:
            for end, unit, by in (("", "requests/s", rates), ("_p99", "ms", tails)):
                middle = {name: statistics.median(by[name, clients]) for name in doors}
                for peer, more in (("bare", ""), ("mlflow", "_vs_mlflow")):
                    name = f"serving_{place}_{clients}{end}{more}"
                    value, floor = middle[place], middle[peer]
                    figures.append(over_floor(name, value=value, unit=unit, floor=floor))
    return figures


def _percentile(found: list[float]) -> float:
    """The 99th percentile."""
    return sorted(found)[max(0, -(-99 * len(found) // 100) - 1)]


@contextmanager
def _all_of_them() -> Iterator[dict[str, Ask]]:
    folder = Path(tempfile.mkdtemp(prefix="trainwright-bench-"))
    stack = Stack(folder / "data", settings={"TRAINWRIGHT_RATE_LIMITS": '{"score": ""}'})
    try:
        stack.start()
        talk = Talk(stack.address, stack.token, is_silent=True)
        python = _make_model(talk, folder)
        path = f"{WORKSPACE}/deployments/digits"
        talk.ask("PUT", path, body={"model_name": "digits"}, expect=(201,))
        poll(
            talk,
            path,
            until=lambda seen: seen["state"] == "Healthy",
            deadline_seconds=_MADE_SECONDS,
            words="the deployment was healthy",
        )
        talk.close()
        api = _Door(stack.address, stack.token, f"{path}/score", "instances")
        replica = asyncio.run(_replica(stack))
        with _bare(python, folder) as bare, _mlflow(folder) as mlflow:
            yield {"api": api.ask, "replica": replica.ask, "mlflow": mlflow.ask, "bare": bare}
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _make_model(talk: Talk, folder: Path) -> str:
    """Make the model in a run, write it into `folder` as well, register it; the interpreter."""
    talk.ask("PUT", WORKSPACE, body={}, expect=(200, 201))
    talk.ask("PUT", f"{WORKSPACE}/clusters/bench", body={"vm_size": "SMALL"}, expect=(200, 201))
    archive = folder / "source.tar"
    archive.write_bytes(packed("model.py", _PROGRAM.read_bytes()))
    snapshot = talk.upload(f"{WORKSPACE}/snapshots", file=archive, shown_as="source.tar")
    say = f'python -c "import sys; print(sys.executable)" > {folder}/python'
    body = {
        "experiment_name": "bench",
        "snapshot_id": snapshot["id"],
        "cluster_name": "bench",
        "command": f"mkdir -p outputs && python model.py make outputs && cp -r outputs/* {folder}/"
        f" && {say}",
        "environment": {"framework": "tensorflow", "framework_version": TENSORFLOW},
    }
    run = talk.ask("POST", f"{WORKSPACE}/runs", body=body, expect=(201,)).json()
    ended = poll(
        talk,
        f"{WORKSPACE}/runs/{run['id']}",
        until=lambda seen: seen["status"] in TERMINAL,
        deadline_seconds=_MADE_SECONDS,
        words="the model was made",
    )
    require(ended["status"] == "Completed", f"the model was not made: {ended}")
    version = {
        "run_id": run["id"],
        "path": "outputs/digits",
        "framework": "TensorFlow",
        "framework_version": TENSORFLOW,
    }
    talk.ask("POST", f"{WORKSPACE}/models/digits/versions", body=version, expect=(201,))
    return (folder / "python").read_text().strip()


async def _replica(stack: Stack) -> _Door:
    """The serving process behind the deployment, as the API asks it."""
    connection = await asyncpg.connect(dsn_of(stack))
    row = await connection.fetchrow("SELECT name, address, port, created_at FROM replicas")
    await connection.close()
    signer = Signer.load(stack.data_dir)
    token = replica_token(signer, row["name"], made_at=row["created_at"])
    return _Door(f"http://{row['address']}:{row['port']}", token, "/v1/predict", "instances")


@contextmanager
def _bare(python: str, folder: Path) -> Iterator[Ask]:
    """The model in a process of its own, which is asked nothing but to call it."""
    command = [python, str(_PROGRAM), "call", str(folder / "digits")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdin is not None
        output: Any = child.stdout
        require(output.readline().strip() == "ready", "the bare model could not be loaded")

        def ask(clients: int, seconds: float) -> list[float]:
            print(clients, seconds, file=child.stdin, flush=True)
            found: list[float] = json.loads(output.readline())
            return found

        yield ask
        child.stdin.close()


@contextmanager
def _mlflow(folder: Path) -> Iterator[_Door]:
    """MLflow's scoring server as it is shipped, with the same model."""
    packages = (f"tensorflow-cpu=={TENSORFLOW}", "setuptools<81")
    program = installed("mlflow-serving", packages)
    served = folder / "mlflow-model"
    subprocess.run(
        [program.with_name("python"), _PROGRAM, "mlflow", folder / "digits.keras", served],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    command = [
        str(program), "models", "serve", "-m", str(served), "--env-manager", "local",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    with running(command, f"http://127.0.0.1:{port}", folder) as address:
        yield _Door(address, "", "/invocations", "inputs")
