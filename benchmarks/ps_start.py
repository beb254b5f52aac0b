"""From ``POST /runs`` to the first training step of a coordinator with parameter servers.

The floor is a bare start of the same processes with the same interpreter and script, measured in
turns. The environment is there already in both cases. Before it makes its strategy the coordinator
waits until its peers listen: a first connection that is refused is tried again by gRPC after a
second at the earliest, and whether it is refused depends on which process was quicker by
milliseconds. That second would hide what is measured.

Each process of the floor has a session of its own, as those of nodes have: Linux shares cores
evenly among sessions (autogroups), so that on a loaded machine three processes of one session get a
third of what three sessions get.
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
from typing import Any, NamedTuple

from benchmarks.figure import Figure, over_floor
from benchmarks.trivial_run import WORKSPACE, interpreter_in, once, own_stack, prepare
from examples.walk.talk import Talk

_REPETITIONS = 5
_SCRIPT = """
import time
print("born at", time.time(), flush=True)
import socket, sys
import tensorflow as tf

resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
if resolver.task_type != "chief":
    tf.distribute.Server(
        resolver.cluster_spec(), job_name=resolver.task_type, task_index=resolver.task_id,
        protocol="grpc", start=True).join()
for role in ("worker", "ps"):
    for place in resolver.cluster_spec().job_tasks(role):
        host, port = place.split(":")
        while True:
            try:
                socket.create_connection((host, int(port))).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
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


class _Start(NamedTuple):
    """Seconds from the request, or from starting the first process.

    Attributes:
        launch: to the first line of the last of the processes.
        step: to the line behind the first step.
    """

    launch: float
    step: float


def measure() -> list[Figure]:
    """Start a stack of its own and measure on it, in turns with bare starts.

    Returns:
        ``ps_start``: seconds from the request to the first step's line at a following client;
        ``ps_start_added``: how many of them a bare start does not need, the median of the turns;
        ``ps_launch_added``: the same to the first line of the last of the processes, which does
        not depend on how long each then takes to load TensorFlow.

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
        turns = [(_managed(talk, job), _bare(interpreter)) for _ in range(_REPETITIONS)]
    value = statistics.median(ours.step for ours, _ in turns)
    floor = statistics.median(bare.step for _, bare in turns)
    added = statistics.median(ours.step - bare.step for ours, bare in turns)
    launch_added = statistics.median(ours.launch - bare.launch for ours, bare in turns)
    return [
        over_floor("ps_start", value=value, unit="s", floor=floor),
        over_floor("ps_start_added", value=added, unit="s", floor=floor),
        over_floor("ps_launch_added", value=launch_added, unit="s", floor=floor),
    ]


def _managed(talk: Talk, job: dict[str, Any]) -> _Start:
    began = time.time()
    seconds, run, _ = once(talk, job)
    said = [
        talk.client.get(
            f"{WORKSPACE}/runs/{run['id']}/logs?stream=user_logs/std_log_{role}_{index}.txt",
            headers=talk.authorization(),
        ).text
        for role, index in _ROLES
    ]
    return _Start(_last_birth(said) - began, seconds)


def _bare(interpreter: str) -> _Start:
    """The same by hand."""
    cluster = {role: [f"127.0.0.1:{_free_port()}"] for role, _ in _ROLES}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as children:
        script = Path(folder) / "script.py"
        script.write_text(_SCRIPT)
        began = time.time()
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
                text=True,
                start_new_session=True,
            )
            children.enter_context(child)
            children.callback(child.kill)
            started.append(child)
        first = [child.stdout.readline() for child in started if child.stdout]
        chief = started[0]
        line = chief.stdout.readline() if chief.stdout else ""
        seconds = time.time() - began
    interpreter_in(line)
    return _Start(_last_birth(first) - began, seconds)


def _last_birth(said: list[str]) -> float:
    return max(float(text.splitlines()[0].removeprefix("born at ")) for text in said)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
