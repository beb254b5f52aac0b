"""Real TensorFlow over two nodes: workers that reduce among themselves, a parameter server."""

import json
from collections.abc import Iterator

import pytest

from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e.test_gangs import WORKSPACE, await_end, submit, text

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

ENVIRONMENT = {"framework": "tensorflow", "framework_version": "2.15"}
MULTI_WORKER = """
import json, os
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
with strategy.scope():
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1), loss="mse")
x = tf.random.stateless_uniform((256, 2), seed=(1, 2))
y = tf.linalg.matvec(x, [2.0, -1.0])[:, None]
data = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
options = tf.data.Options()
options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
history = model.fit(data.with_options(options), epochs=20, verbose=0)
print(json.dumps({"replicas": strategy.num_replicas_in_sync, "loss": history.history["loss"][-1]}))
"""
PARAMETER_SERVER = """
import json, os
import tensorflow as tf
resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
if resolver.task_type in ("worker", "ps"):
    server = tf.distribute.Server(
        resolver.cluster_spec(), job_name=resolver.task_type, task_index=resolver.task_id,
        protocol="grpc", start=True)
    server.join()
strategy = tf.distribute.ParameterServerStrategy(resolver)
coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
with strategy.scope():
    weight = tf.Variable(0.0)
@tf.function
def step():
    def replica():
        weight.assign_add(1.0)
    strategy.run(replica)
for _ in range(50):
    coordinator.schedule(step)
coordinator.join()
print(json.dumps({"weight": float(weight.numpy())}))
"""


@pytest.fixture(scope="module")
def talk(live_stack: Stack) -> Iterator[Talk]:
    talk = Talk(live_stack.address, live_stack.token, is_silent=True)
    talk.ask("PUT", WORKSPACE, expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 2}
    talk.ask("PUT", f"{WORKSPACE}/clusters/cpu", body=body, expect=(200, 201))
    yield talk
    talk.close()


def last_line(talk: Talk, run_id: str, stream: str) -> dict[str, float]:
    lines = text(talk, run_id, f"logs?stream=user_logs/{stream}.txt").splitlines()
    found: dict[str, float] = json.loads(lines[-1])
    return found


def test_workers_reduce_among_themselves(talk: Talk) -> None:
    distribution = {"type": "multi_worker"}
    run_id = submit(
        talk, MULTI_WORKER, node_count=2, distribution=distribution, environment=ENVIRONMENT
    )
    run = await_end(talk, run_id, seconds=400)
    assert run["status"] == "Completed", run["error"]
    ends = [last_line(talk, run_id, f"std_log_worker_{index}") for index in (0, 1)]
    assert [end["replicas"] for end in ends] == [2, 2]
    assert ends[0]["loss"] == ends[1]["loss"] < 0.1


def test_a_coordinator_with_a_parameter_server(talk: Talk) -> None:
    distribution = {"type": "parameter_server", "worker_count": 1, "chief": True}
    run_id = submit(
        talk, PARAMETER_SERVER, node_count=2, distribution=distribution, environment=ENVIRONMENT
    )
    run = await_end(talk, run_id, seconds=400)
    assert run["status"] == "Completed", run["error"]
    assert last_line(talk, run_id, "std_log_chief_0") == {"weight": 50.0}
