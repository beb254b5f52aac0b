"""Real TensorFlow and Horovod across two engines, in one image that all runs here share."""

from collections.abc import Iterator
from typing import Any

import pytest

from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e import horovod_runs
from tests.e2e.horovod_runs import COMPILE_SECONDS, SHARED_ENVIRONMENT, train_by_tensorflow
from tests.e2e.swarm_runs import attempts_of, hosts_of, states, talking
from tests.e2e.test_gangs import WORKSPACE, await_end, await_that, kept_by, submit, text
from tests.swarm import Swarm

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.timeout(COMPILE_SECONDS + 400),
]
_NAME = WORKSPACE.rpartition("/")[2]
# Trains until a checkpoint is there, and then on and on: the other engine is cut off meanwhile.
# With a checkpoint it goes on from there, and ends.
STEADY = """
import json, os
import numpy as np
import tensorflow as tf

strategy = tf.distribute.MultiWorkerMirroredStrategy()
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
with strategy.scope():
    step = tf.Variable(0, trainable=False, dtype=tf.int64)
    weight = tf.Variable(tf.zeros((3,)))
    optimizer = tf.keras.optimizers.legacy.SGD(0.1)
saved = tf.train.Checkpoint(step=step, weight=weight)
manager = tf.train.CheckpointManager(saved, "checkpoints", max_to_keep=1)
has_more = manager.latest_checkpoint is not None
saved.restore(manager.latest_checkpoint)
print("begins at", int(step.numpy()), "with", strategy.num_replicas_in_sync, "replicas", flush=True)
inputs = tf.random.stateless_normal((8, 3), seed=(1, index))
wanted = tf.linalg.matvec(inputs, [1.0, 2.0, 3.0])

@tf.function
def train():
    def replica():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((tf.linalg.matvec(inputs, weight) - wanted) ** 2)
        optimizer.apply_gradients([(tape.gradient(loss, weight), weight)])
    strategy.run(replica)

while not has_more or step.numpy() < 200:
    train()
    step.assign_add(1)
    if step.numpy() == 20:
        manager.save()
        print("saved at", int(step.numpy()), flush=True)
print("ends at", int(step.numpy()), np.round(weight.numpy(), 2).tolist(), flush=True)
"""


@pytest.fixture
def talk(stack_of_two: Stack, swarm: Swarm, digits_address: str) -> Iterator[Talk]:
    with talking(stack_of_two, swarm) as talk:
        horovod_runs.prepare(talk, _NAME, digits_address)
        yield talk


def said_by(talk: Talk, run_id: str, role: str, index: int, *, attempt: int = 1) -> str:
    stream = f"user_logs/std_log_{role}_{index}.txt"
    return text(talk, run_id, f"logs?stream={stream}&attempt={attempt}")


def has_kept(talk: Talk, run_id: str) -> bool:
    """Whether both nodes' checkpoints are kept; a run that ends before fails the test."""
    run = talk.get(f"{WORKSPACE}/runs/{run_id}")
    assert run["status"] not in ("Completed", "Failed", "Canceled"), run["error"]
    return len(kept_by(talk, run_id)) == 2


def test_ranks_of_horovod_train_across_engines(talk: Talk) -> None:
    run_id = horovod_runs.train(talk, _NAME, "--style", "tape")

    (attempt,) = attempts_of(talk, run_id)
    assert hosts_of(attempt) == ["alpha", "beta"]


def test_a_coordinator_trains_with_a_worker_on_the_other_engine(talk: Talk) -> None:
    run_id = train_by_tensorflow(talk, _NAME, {"type": "parameter_server", "chief": True})

    (attempt,) = attempts_of(talk, run_id)
    assert hosts_of(attempt) == ["alpha", "beta"]


def test_workers_that_lose_an_engine_go_on_from_their_checkpoint(talk: Talk, swarm: Swarm) -> None:
    distribution: dict[str, Any] = {"type": "multi_worker"}
    run_id = submit(
        talk, STEADY, node_count=2, environment=SHARED_ENVIRONMENT, distribution=distribution
    )
    await_that(lambda: has_kept(talk, run_id), seconds=600)

    swarm.beta.cut_off()
    try:
        run = await_end(talk, run_id, seconds=300)
    finally:
        swarm.beta.plug_in()

    assert (run["status"], run["attempt"], run["error"]) == ("Completed", 2, None), run
    first, second = attempts_of(talk, run_id)
    assert (hosts_of(first), hosts_of(second)) == (["alpha", "beta"], ["alpha", "alpha"])
    assert (first["error"]["code"], first["error"]["host"]) == ("node_lost", "beta")
    for index in (0, 1):
        assert "begins at 0 with 2 replicas" in said_by(talk, run_id, "worker", index)
        lines = said_by(talk, run_id, "worker", index, attempt=2).splitlines()
        assert "begins at 20 with 2 replicas" in lines
        assert "ends at 200 [1.0, 2.0, 3.0]" in lines
    await_that(lambda: states(talk)["beta"] == "ready")
