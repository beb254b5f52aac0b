"""Two ranks of Horovod under Trainwright beside the same two under a bare ``mpirun``.

Both train the same script with the same interpreter, ranks and cores, in turns; each figure is the
median of what each turn gave. Needs Open MPI, and what Horovod is compiled with.

The bare ranks have sessions of their own, as ours have: Linux shares cores evenly among sessions
(autogroups), so that on a loaded machine two ranks of one session get half of what two get.
"""

import io
import json
import os
import statistics
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, over_floor
from benchmarks.trivial_run import own_stack
from examples.walk.follow import TERMINAL, log_lines, poll
from examples.walk.talk import Talk, require

_TURNS = 5
_RANKS = 2
_RUN_SECONDS = 1800.0
_BASE = "/v1/workspaces/bench"
_ENVIRONMENT = {"framework": "tensorflow", "framework_version": "2.15"}
_SCRIPT = """
import json, os, sys, time
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf
import horovod.tensorflow as hvd
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
hvd.init()
hvd.allreduce(tf.constant(1.0), name="first")
first = time.time()
weights = [tf.Variable(tf.random.stateless_normal((512, 512), seed=(1, n))) for n in range(8)]
batch = tf.random.stateless_normal((64, 512), seed=(2, hvd.rank()))

@tf.function
def step():
    with tf.GradientTape() as tape:
        value = batch
        for weight in weights:
            value = tf.tanh(value @ weight)
        loss = tf.reduce_mean(value * value)
    tape = hvd.DistributedGradientTape(tape)
    for weight, gradient in zip(weights, tape.gradient(loss, weights)):
        weight.assign_sub(0.01 * gradient)

for _ in range(20):
    step()
began = time.perf_counter()
for _ in range(200):
    step()
seconds = time.perf_counter() - began
if hvd.rank() == 0:
    print(json.dumps({"steps_per_second": 200 / seconds, "first_collective_at": first,
                      "python": sys.executable}), flush=True)
"""


def measure() -> list[Figure]:
    """Start a stack of its own, and train in turns.

    Returns:
        ``mpi_throughput``: steps a second, with the ratio to the bare start's; and
        ``mpi_launch``: seconds from the request to the end of the first collective operation,
        beside those from a bare start, with how many are added.

    Raises:
        StepError: a request was refused, or a run failed.
    """
    wheels = Path(__file__).parents[1] / "build" / "wheels"
    with own_stack(TRAINWRIGHT_WHEELS_DIR=str(wheels)) as talk:
        job = _prepare(talk)
        python = _managed(talk, job)["python"]
        turns = [(_managed(talk, job), _bare(python)) for _ in range(_TURNS)]
    rates, bare_rates = ([one[side]["steps_per_second"] for one in turns] for side in (0, 1))
    starts, bare_starts = ([one[side]["launch_seconds"] for one in turns] for side in (0, 1))
    rate, bare_rate = statistics.median(rates), statistics.median(bare_rates)
    start, bare_start = statistics.median(starts), statistics.median(bare_starts)
    return [
        over_floor("mpi_throughput", value=rate, unit="steps/s", floor=bare_rate),
        over_floor("mpi_launch", value=start, unit="s", floor=bare_start),
        over_floor("mpi_launch_added", value=start - bare_start, unit="s", floor=bare_start),
    ]


def _prepare(talk: Talk) -> dict[str, Any]:
    talk.ask("PUT", _BASE, body={}, expect=(200, 201))
    cluster = {"vm_size": "STANDARD_D2_V2", "min_nodes": 1, "max_nodes": 1}
    talk.ask("PUT", f"{_BASE}/clusters/bench", body=cluster, expect=(200, 201))
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "source.tar"
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            member = tarfile.TarInfo("script.py")
            member.size = len(_SCRIPT.encode())
            tar.addfile(member, io.BytesIO(_SCRIPT.encode()))
        archive.write_bytes(packed.getvalue())
        snapshot = talk.upload(f"{_BASE}/snapshots", file=archive, shown_as="source.tar")
    return {
        "experiment_name": "bench",
        "snapshot_id": snapshot["id"],
        "cluster_name": "bench",
        "entry_script": "script.py",
        "environment": _ENVIRONMENT,
        "process_count_per_node": _RANKS,
        "distribution": {"type": "mpi"},
    }


def _managed(talk: Talk, job: dict[str, Any]) -> dict[str, Any]:
    began = time.time()
    run = talk.ask("POST", f"{_BASE}/runs", body=job, expect=(201,)).json()
    address = f"{_BASE}/runs/{run['id']}"
    # Followed, not polled: a client that asks three times a second takes a few percent of a core.
    lines = list(log_lines(talk, f"{address}/logs", deadline_seconds=_RUN_SECONDS))
    ended = poll(
        talk,
        address,
        until=lambda seen: seen["status"] in TERMINAL,
        deadline_seconds=60.0,
        words="the run ended",
    )
    require(ended["status"] == "Completed", f"the run did not complete: {ended}")
    return _figures(lines, began)


def _bare(python: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(_SCRIPT)
        line = ["mpirun", "--allow-run-as-root", "-np", str(_RANKS), "-bind-to", "none",
                "-map-by", "slot", "--host", f"localhost:{_RANKS}",
                "setsid", "--wait", python, str(script)]  # fmt: skip
        began = time.time()
        done = subprocess.run(
            line, cwd=folder, env=dict(os.environ), stdout=subprocess.PIPE, text=True, check=True
        )
    return _figures(done.stdout.splitlines(), began)


def _figures(lines: list[str], began: float) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(next(line for line in lines if line.startswith("{")))
    return found | {"launch_seconds": found["first_collective_at"] - began}
