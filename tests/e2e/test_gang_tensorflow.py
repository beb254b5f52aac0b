"""Real TensorFlow over several nodes learns as much as it does in one process."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.digits import ARCHIVES
from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e.test_gangs import WORKSPACE, await_end, cancel_all, submit, text

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

ENVIRONMENT = {"framework": "tensorflow", "framework_version": "2.15"}
TRAIN = Path(__file__).parents[2] / "examples" / "train"
TOLERANCE = 0.03
"""Of the accuracy; the order of the steps differs, and one test image in 297 is 0.0034."""
ASYNCHRONOUS_TOLERANCE = 0.05
"""Workers that do not wait for each other step on weights that have moved on meanwhile, by how much
depends on the machine's load: 15 images instead of 9."""
# The evaluator of Keras watches the folder in which the chief saves, and ends after so many.
EVALUATED = """
import json, os
import tensorflow as tf

task = json.loads(os.environ["TF_CONFIG"])["task"]
resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
inputs = tf.random.stateless_normal((64, 3), seed=(1, 2))
wanted = tf.linalg.matvec(inputs, [1.0, 2.0, 3.0])


def build():
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, input_shape=(3,))])
    model.compile(optimizer=tf.keras.optimizers.legacy.SGD(0.1), loss="mse", steps_per_execution=10)
    return model


if task["type"] in ("worker", "ps"):
    tf.distribute.Server(resolver.cluster_spec(), job_name=task["type"],
                         task_index=task["index"], protocol="grpc", start=True).join()
elif task["type"] == "evaluator":
    print("beside", sorted(resolver.cluster_spec().jobs), flush=True)
    data = tf.data.Dataset.from_tensor_slices((inputs, wanted)).batch(64)
    tf.keras.utils.SidecarEvaluator(build(), data, "checkpoints", max_evaluations=2).start()
    print("evaluated", flush=True)
else:
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    with strategy.scope():
        model = build()
    data = tf.data.Dataset.from_tensor_slices((inputs, wanted)).repeat().batch(16)
    model.fit(data, epochs=3, steps_per_epoch=20, verbose=2, callbacks=[
        tf.keras.callbacks.ModelCheckpoint("checkpoints/ckpt-{epoch}", save_weights_only=True)])
"""


@dataclass
class Training:
    """Submits the example, and says how well it did."""

    talk: Talk
    dataset: dict[str, Any]

    def accuracy(self, **more: Any) -> tuple[float, dict[str, Any]]:
        names = ("tf_distributed.py", "tf_mnist.py")
        sources = {name: (TRAIN / name).read_text() for name in names}
        run_id = submit(
            self.talk,
            "",
            sources=sources,
            entry_script="tf_distributed.py",
            script_params={"--data-folder": self.dataset},
            environment=ENVIRONMENT,
            **more,
        )
        run = await_end(self.talk, run_id, seconds=400)
        assert run["status"] == "Completed", run["error"]
        said = json.loads(text(self.talk, run_id, "files/outputs/accuracy.json"))
        return said["accuracy"], run


@pytest.fixture(scope="module")
def talk(live_stack: Stack) -> Iterator[Talk]:
    talk = Talk(live_stack.address, live_stack.token, is_silent=True)
    talk.ask("PUT", WORKSPACE, expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 3}
    talk.ask("PUT", f"{WORKSPACE}/clusters/cpu", body=body, expect=(200, 201))
    yield talk
    talk.close()


@pytest.fixture(autouse=True)
def nothing_goes_on(talk: Talk) -> Iterator[None]:
    yield
    cancel_all(talk)


@pytest.fixture(scope="module")
def training(talk: Talk, digits_address: str) -> Training:
    urls = [f"{digits_address}/{name}" for name in ARCHIVES]
    talk.ask(
        "POST",
        f"{WORKSPACE}/datasets",
        body={"name": "digits", "urls": urls},
        headers={"Prefer": "wait=60"},
        expect=(200, 201),
    )
    return Training(talk, {"dataset": "digits", "name": "digits"})


@pytest.fixture(scope="module")
def alone(training: Training) -> float:
    """The accuracy of one process."""
    accuracy, _ = training.accuracy()
    assert accuracy > 0.9
    return accuracy


def test_workers_that_reduce_among_themselves(training: Training, alone: float) -> None:
    accuracy, run = training.accuracy(node_count=2, distribution={"type": "multi_worker"})
    assert accuracy == pytest.approx(alone, abs=TOLERANCE)
    said = [
        text(training.talk, run["id"], f"logs?stream=user_logs/std_log_worker_{index}.txt")
        for index in (0, 1)
    ]
    assert all("replicas 2 " in each for each in said)
    # Both have the same weights, so they say the same of the same images.
    ends = [re.findall(r"^worker \d: (accuracy .*)$", each, re.MULTILINE) for each in said]
    assert len(ends[0]) == 1
    assert ends[0] == ends[1]


def test_a_coordinator_with_workers_and_parameter_servers(training: Training, alone: float) -> None:
    distribution = {
        "type": "parameter_server",
        "worker_count": 2,
        "parameter_server_count": 1,
        "chief": True,
    }
    # Four processes on three nodes: the parameter server shares the chief's.
    accuracy, run = training.accuracy(node_count=3, distribution=distribution)
    assert accuracy == pytest.approx(alone, abs=ASYNCHRONOUS_TOLERANCE)
    streams = training.talk.get(f"{WORKSPACE}/runs/{run['id']}/logs/streams")["items"]
    names = {stream["name"] for stream in streams}
    roles = ("chief_0", "worker_0", "worker_1", "ps_0")
    assert {f"user_logs/std_log_{role}.txt" for role in roles} <= names


def test_an_evaluator_reads_what_the_chief_saves(talk: Talk) -> None:
    # Roles that share a node share its folders.
    run_id = submit(
        talk,
        EVALUATED,
        environment=ENVIRONMENT,
        distribution={"type": "parameter_server", "chief": True, "evaluator": True},
    )
    run = await_end(talk, run_id, seconds=400)
    assert (run["status"], run["error"]) == ("Completed", None), run
    said = text(talk, run_id, "logs?stream=user_logs/std_log_evaluator_0.txt")
    assert "beside ['chief', 'ps', 'worker']" in said
    assert "evaluated" in said.splitlines()
    ended = talk.get(f"{WORKSPACE}/runs/{run_id}/processes")["items"]
    assert {
        one["role"]: one["exit_code"] for one in ended if one["role"] in ("chief", "evaluator")
    } == {
        "chief": 0,
        "evaluator": 0,
    }
