"""A model: deployed, ``kill -9`` of its process heals; and it scores a dataset."""

import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from examples.demo import TENSORFLOW
from examples.walk.talk import Talk

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

WS = "/v1/workspaces/serving"
SCRIPT = """
import tensorflow as tf

class Doubler(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def __call__(self, x):
        return {"y": x * 2.0}

tf.saved_model.save(Doubler(), "outputs/model")
"""


def snapshot(talk: Talk) -> str:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("make.py")
        info.size = len(SCRIPT)
        archive.addfile(info, io.BytesIO(SCRIPT.encode()))
    answer = talk.client.put(
        f"{WS}/snapshots", content=packed.getvalue(), headers=talk.authorization()
    )
    return str(answer.json()["id"])


def until(talk: Talk, path: str, key: str, *wanted: str, seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while (found := talk.get(path, quiet=True))[key] not in wanted:
        assert time.monotonic() < deadline, found
        assert found[key] not in {"Failed", "Canceled"}, found
        time.sleep(0.2)
    return dict(found)


def doubled(talk: Talk) -> Any:
    body = {"instances": [[1.0, 2.0], [3.0, 4.0]]}
    answer = talk.client.post(
        f"{WS}/deployments/doubler/score", json=body, headers=talk.authorization()
    )
    return answer.json() if answer.status_code == 200 else answer.status_code


def serving_processes(deployment_id: str) -> list[psutil.Process]:
    """The serving processes of a deployment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if "--port-file" in words and f"tw-{deployment_id}-" in process.cwd():
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def predictions_of(talk: Talk, digits: Path, digits_address: str) -> list[dict[str, Any]]:
    """Score a dataset on two nodes; what its predictions are."""
    rows = "".join(f"{n},{n + 1}\n" for n in range(5))
    (digits / "doubler.csv").write_text(f"a,b\n{rows}nothing,1\n")
    dataset = {"name": "pairs", "urls": [f"{digits_address}/doubler.csv"], "layout": "flat"}
    talk.ask("POST", f"{WS}/datasets", body=dataset, expect=(200, 201))
    body = {
        "experiment_name": "serving",
        "cluster_name": "cpu",
        "model_name": "doubler",
        "dataset_name": "pairs",
        "output_dataset_name": "doubled",
        "mini_batch_rows": 2,
        "max_failed_rows": 1,
        "node_count": 2,
    }
    made = talk.ask("POST", f"{WS}/batch-scorings", body=body, expect=(201,)).json()
    path = f"{WS}/batch-scorings/{made['id']}"
    done = until(talk, path, "status", "Completed", seconds=400)
    assert (done["rows_scored"], done["rows_failed"]) == (5, 1)
    metrics = talk.get(f"{WS}/runs/{done['run_id']}/metrics")["items"]
    assert {"shard_0_rows_scored", "shard_1_rows_scored"} <= {one["name"] for one in metrics}
    version = f"{WS}/datasets/doubled/versions/{done['output_dataset_version']}"
    lines: list[dict[str, Any]] = []
    for file in talk.get(f"{version}/files")["items"]:
        content = talk.client.get(
            f"{version}/files/{file['path']}", headers=talk.authorization()
        ).text
        lines += [json.loads(line) for line in content.splitlines()]
    return sorted(lines, key=lambda line: int(line["row"]))


def test_a_killed_serving_process_comes_back(talk: Talk, digits: Path, digits_address: str) -> None:
    # As in the README, whose environment is there already.
    environment = {
        "framework": "tensorflow",
        "framework_version": TENSORFLOW,
        "pip_packages": ["pandas"],
    }
    talk.ask("PUT", WS, expect=(200, 201))
    cluster = {"vm_size": "SMALL", "max_nodes": 2}
    talk.ask("PUT", f"{WS}/clusters/cpu", body=cluster, expect=(200, 201))
    body = {
        "experiment_name": "serving",
        "snapshot_id": snapshot(talk),
        "cluster_name": "cpu",
        "entry_script": "make.py",
        "environment": environment,
    }
    run_id = talk.ask("POST", f"{WS}/runs", body=body, expect=(201,)).json()["id"]
    until(talk, f"{WS}/runs/{run_id}", "status", "Completed", seconds=400)
    version = {
        "run_id": run_id,
        "path": "outputs/model",
        "framework": "TensorFlow",
        "framework_version": TENSORFLOW,
    }
    versions = f"{WS}/models/doubler/versions"
    registered = talk.ask("POST", versions, body=version, expect=(201,)).json()
    wish = {"model_name": "doubler"}
    made = talk.ask("PUT", f"{WS}/deployments/doubler", body=wish, expect=(200, 201)).json()
    until(talk, f"{WS}/deployments/doubler", "state", "Healthy", seconds=400)
    this = f"{versions}/{registered['version']}"
    registered = talk.get(this, quiet=True)
    deadline = time.monotonic() + 120
    while registered["capture"]["state"] in ("Pending", "Running"):
        assert time.monotonic() < deadline, registered
        time.sleep(0.2)
        registered = talk.get(this, quiet=True)
    assert registered["capture"]["state"] == "Captured", registered
    sample = talk.get(f"{this}/sample")
    assert sample["outputs"]["y"] == [[2 * value for value in sample["inputs"]["x"][0]]]
    right = {"predictions": [[2.0, 4.0], [6.0, 8.0]]}
    assert doubled(talk) == right

    assert predictions_of(talk, digits, digits_address) == [
        {"file": "doubler.csv", "row": n, "prediction": [2.0 * n, 2.0 * n + 2.0]} for n in range(5)
    ]

    (before,) = serving_processes(made["id"])
    before.kill()
    deadline = time.monotonic() + 120
    while (answer := doubled(talk)) != right:
        assert answer in (502, 503), answer
        assert time.monotonic() < deadline, "it did not come back"
        time.sleep(0.2)
    (after,) = serving_processes(made["id"])
    assert after.pid != before.pid

    talk.ask("DELETE", f"{WS}/deployments/doubler", expect=(200, 202, 204))
    deadline = time.monotonic() + 60
    while serving_processes(made["id"]):
        assert time.monotonic() < deadline, "the serving process was left behind"
        time.sleep(0.2)
