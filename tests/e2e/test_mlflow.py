"""MLflow's own client inside a run: TensorFlow's autolog lands in the run by itself."""

import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
from mlflow import MlflowClient

from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e.scripts import await_status, await_true, submit
from tests.pages import examples_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

WORKSPACE = "mlflow"
ENVIRONMENT = {
    "framework": "tensorflow",
    "framework_version": "2.15",
    # The newest that logs this TensorFlow, and one with MLflow's older way to log models.
    "pip_packages": ["mlflow-skinny==2.22.4", "pandas<3", "scipy"],
}
MODEL = """
import numpy as np
import tensorflow as tf

x = np.random.default_rng(1).random((64, 2)).astype("float32")
y = x @ np.array([[2.0], [-1.0]], dtype="float32")
model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
model.compile(optimizer=tf.keras.optimizers.SGD(0.1), loss="mse")
"""
# Goes on in the block in which the page's script ends.
WITHIN = """
mlflow.log_metric("own", 7)
with mlflow.start_run(nested=True, run_name="after"):
    mlflow.log_metric("checked", 1)
own = mlflow.active_run().info
tags = {"mlflow.parentRunId": own.run_id}
mlflow.MlflowClient().create_run(own.experiment_id, run_name="left open", tags=tags)
print(mlflow.active_run().info.run_id)
"""
ELSEWHERE = """
import os
print({key: value for key, value in os.environ.items() if key.startswith("MLFLOW_")})
"""


@pytest.fixture(scope="module")
def talk(live_stack: Stack) -> Iterator[Talk]:
    talk = Talk(live_stack.address, live_stack.token, is_silent=True)
    talk.ask("PUT", f"/v1/workspaces/{WORKSPACE}", expect=(200, 201))
    address = f"/v1/workspaces/{WORKSPACE}/clusters/cpu"
    talk.ask("PUT", address, body={"vm_size": "SMALL"}, expect=(200, 201))
    yield talk
    talk.close()


def is_tried(version: dict[str, Any]) -> bool:
    return version["capture"] is None or version["capture"]["state"] in ("Captured", "Failed")


def test_autolog_lands_in_the_run(
    talk: Talk, live_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    (autolog,) = examples_of("docs/mlflow.md", "python")
    script = MODEL + autolog + textwrap.indent(WITHIN, "    ")
    run_id = submit(talk, script, workspace=WORKSPACE, environment=ENVIRONMENT)
    run = await_status(talk, run_id, "Completed", workspace=WORKSPACE, seconds=400)
    assert run["params"]["epochs"] == "3"
    assert run["params"]["seed"] == "1"
    assert run["params"]["opt_name"] == "SGD"
    base = f"/v1/workspaces/{WORKSPACE}"
    printed = talk.client.get(f"{base}/runs/{run_id}/logs", headers=talk.authorization()).text

    metrics = talk.get(f"{base}/runs/{run_id}/metrics")["items"]
    found = {metric["name"]: metric for metric in metrics}
    assert found["own"]["last"] == 7
    assert [point["step"] for point in found["loss"]["points"]] == [0, 1, 2]
    files = [file["path"] for file in talk.get(f"{base}/runs/{run_id}/files")["items"]]
    assert "model_summary.txt" in files
    versions = f"{base}/models/digits/versions"
    (version,) = [v for v in talk.get(versions)["items"] if v["lineage"]["run_id"] == run_id]
    assert (version["kind"], version["is_deployable"]) == ("saved_model", True)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", live_stack.token)
    client = MlflowClient(tracking_uri=f"{live_stack.address}{base}/mlflow")
    experiment = client.get_run(run_id).info.experiment_id
    below = client.search_runs(
        [experiment], f"tags.mlflow.parentRunId = '{run_id}'", order_by=["start_time"]
    )
    assert [(child.info.run_name, child.info.status) for child in below] == [
        ("after", "FINISHED"), ("left open", "FINISHED"),
    ]  # fmt: skip
    assert below[0].data.metrics == {"checked": 1}
    assert run_id in printed.splitlines()
    # A node tries the model by itself; what is under way outlasts a stack that stops.
    await_true(lambda: is_tried(talk.get(f"{versions}/{version['version']}")), seconds=300)


def test_a_tracking_server_of_the_users_own_is_the_one(talk: Talk) -> None:
    mine = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    run_id = submit(talk, ELSEWHERE, workspace=WORKSPACE, environment_variables=mine)
    await_status(talk, run_id, "Completed", workspace=WORKSPACE)
    address = f"/v1/workspaces/{WORKSPACE}/runs/{run_id}/logs"
    printed = talk.client.get(address, headers=talk.authorization()).text
    assert "http://127.0.0.1:1" in printed
    assert "MLFLOW_TRACKING_TOKEN" not in printed
    assert "MLFLOW_RUN_ID" not in printed
