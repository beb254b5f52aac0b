"""What Azure's own clients sent, captured, becomes the run that their users meant."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.imports.schemas import RunImport
from app.imports.service import translate

SAMPLES = Path(__file__).parent / "samples"
_MNIST = {"dataset": "mnist dataset", "version": 1, "mode": "mount", "path_on_compute": None}
_V1 = {
    "cluster_name": "gpucluster",
    "entry_script": "tf_mnist.py",
    "arguments": [
        "--data-folder", {**_MNIST, "name": "mnist"}, "--batch-size", 50,
        "--first-layer-neurons", 300, "--second-layer-neurons", 100, "--learning-rate", 0.01,
    ],
    "inputs": {"mnist": _MNIST},
    "environment_variables": {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"},
    "shm_size": "2g",
}  # fmt: skip
_V2 = {"cluster_name": "gpu-cluster", "environment_variables": None}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("v1_single", _V1 | {"node_count": 1, "distribution": None}),
        ("v1_horovod", _V1 | {
            "node_count": 2, "distribution": {"type": "mpi", "process_count_per_node": 1}}),
        ("v1_paramserver", _V1 | {
            "node_count": 2,
            "distribution": {
                "type": "parameter_server", "worker_count": 2, "parameter_server_count": 1}}),
        ("v2_single", _V2 | {"command": "python train.py", "distribution": None}),
        ("v2_distributed", _V2 | {
            "command": "python train.py --epochs 1 --model-dir outputs/keras-model",
            "node_count": 2, "distribution": {"type": "multi_worker", "worker_count": 2}}),
        ("v2_distributed-horovod", _V2 | {
            "command": "python train.py --epochs 1", "node_count": 2,
            "distribution": {"type": "mpi", "process_count_per_node": 1}}),
    ],
)  # fmt: skip
def test_each_sample_becomes_the_run_that_was_meant(name: str, expected: dict[str, Any]) -> None:
    job = json.loads((SAMPLES / f"{name}.json").read_text())
    given = {"python_version": "3.7"} if name.startswith("v1") else {}
    body = RunImport(job=job, snapshot_id="snap_1", experiment_name="tf-mnist", **given)
    run, translation = translate(body)
    asked = run.model_dump(mode="json", exclude_unset=True)
    assert {key: asked.get(key) for key in expected} == expected
    assert run.environment is not None
    assert run.environment.framework == "tensorflow"
    assert run.environment.use_gpu
    version = {"v1": "1.13.1", "v2": "2.12" if "horovod" in name else "2.16"}[name[:2]]
    assert run.environment.framework_version == version
    has_horovod = "horovod" in run.environment.pip_packages
    assert has_horovod == (name == "v1_horovod")
    assert all(warning["pointer"].startswith("/job/") for warning in translation.warnings)
