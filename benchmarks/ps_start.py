"""From ``POST /runs`` to the first training step of a coordinator with parameter servers.

The floor is a bare start of the same processes with the same interpreter and script, measured in
between. The environment is there already in both cases.
"""

import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figure import Figure, over_floor
from benchmarks.trivial_run import interpreter_in, once, own_stack, prepare

_REPETITIONS = 5
_SCRIPT = """
import sys
import tensorflow as tf

resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
if resolver.task_type != "chief":
    tf.distribute.Server(
        resolver.cluster_spec(), job_name=resolver.task_type, task_index=resolver.task_id,
        protocol="grpc", start=True).join()
strategy = tf.distribute.ParameterServerStrategy(resolver)
coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
with strategy.scope():
    weight = tf.Variable(0.0)

@tf.function
def step():
    strategy.run(lambda: weight.assign_add(1.0))

coordinator.schedule(step)
coordinator.join()
print("first line of", sys.executable, flush=True)
"""
_ROLES = (("chief", 0), ("worker", 0), ("ps", 0))


def measure() -> list[Figure]:
    """Start a stack of its own and measure on it.

    Returns:
        ``ps_start``: seconds from the request to the first step's line at a following client; and
        ``ps_start_added``: how many of them a bare start does not need.

    Raises:
        StepError: a request was refused, or a run failed.
    """
    with own_stack() as talk:
        job = prepare(
            talk,
            script=_SCRIPT,
            node_count=len(_ROLES),
            environment={"framework": "tensorflow", "framework_version": "2.15"},
            distribution={"type": "parameter_server", "chief": True},
        )
        _, _, interpreter = once(talk, job)
        samples, floors = [], []
        for _ in range(_REPETITIONS):
            floors.append(_bare(interpreter))
            samples.append(once(talk, job)[0])
    value, floor = statistics.median(samples), statistics.median(floors)
    return [
        over_floor("ps_start", value=value, unit="s", floor=floor),
        over_floor("ps_start_added", value=value - floor, unit="s", floor=floor),
    ]


def _bare(interpreter: str) -> float:
    """Seconds from starting the processes to the line of the chief."""
    cluster = {role: [f"127.0.0.1:{_free_port()}"] for role, _ in _ROLES}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as children:
        script = Path(folder) / "script.py"
        script.write_text(_SCRIPT)
        began = time.perf_counter()
        started = []
        for role, index in _ROLES:
            task = {"cluster": cluster, "task": {"type": role, "index": index}}
            child = subprocess.Popen(
                [interpreter, str(script)],
                # As little as a node has: a proxy, say, would be asked for the peers.
                env={
                    "PATH": os.environ["PATH"],
                    "TF_CONFIG": json.dumps({**task, "environment": "cloud"}),
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            children.enter_context(child)
            children.callback(child.kill)
            started.append(child)
        chief = started[0]
        line = chief.stdout.readline() if chief.stdout else b""
        seconds = time.perf_counter() - began
    interpreter_in(line.decode())
    return seconds


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
