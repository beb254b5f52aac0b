"""Training with Horovod through a whole stack; what it takes, and what has to come of it."""

from pathlib import Path
from typing import Any

from examples.walk.talk import Talk
from tests.e2e.scripts import await_status, submit

ROOT = Path(__file__).parents[2]
WHEELS = ROOT / "build" / "wheels"
"""What is compiled once is kept for all tests, and for the next run of them."""
SCRIPT = (ROOT / "examples" / "train" / "horovod_digits.py").read_text()
ENVIRONMENT = {"framework": "tensorflow", "framework_version": "2.15"}
COMPILE_SECONDS = 1500
# What a run of ranks in containers gets without asking, so that others share its image.
SHARED_ENVIRONMENT = {
    **ENVIRONMENT,
    "pip_packages": ["horovod"],
    "apt_packages": ["openmpi-bin"],
}
TENSORFLOW_SCRIPT = (ROOT / "examples" / "train" / "tf_distributed.py").read_text()
BESIDE_IT = {"tf_mnist.py": (ROOT / "examples" / "train" / "tf_mnist.py").read_text()}


def prepare(talk: Talk, workspace: str, digits_address: str) -> None:
    """A workspace with a cluster of two nodes and the digits."""
    base = f"/v1/workspaces/{workspace}"
    talk.ask("PUT", base, expect=(200, 201))
    body: dict[str, Any] = {"vm_size": "SMALL", "max_nodes": 2}
    talk.ask("PUT", f"{base}/clusters/cpu", body=body, expect=(200, 201))
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    body = {
        "name": "digits",
        "urls": [f"{digits_address}/{name}-ubyte.gz" for name in names],
    }
    talk.ask("POST", f"{base}/datasets", body=body, expect=(200, 201))


def train(talk: Talk, workspace: str, *arguments: str, **distribution: Any) -> str:
    """Train on two nodes, one rank each, see that it went well, and return the run's id."""
    run_id = submit(
        talk,
        SCRIPT,
        workspace=workspace,
        node_count=2,
        environment=ENVIRONMENT,
        distribution={"type": "mpi", **distribution},
        arguments=["--data-folder", {"dataset": "digits"}, *arguments],
    )
    await_status(talk, run_id, "Completed", workspace=workspace, seconds=COMPILE_SECONDS)
    last = []
    for rank in range(2):
        lines = printed(talk, workspace, run_id, rank).splitlines()
        assert f"rank {rank} of 2 trains on 750" in lines
        last.append(next(line for line in lines if line.startswith("accuracy")))
    assert last[0] == last[1]
    assert float(last[0].split()[1]) > 0.85
    files = talk.get(f"/v1/workspaces/{workspace}/runs/{run_id}/files?prefix=outputs")["items"]
    paths = {file["path"] for file in files}
    assert "outputs/model/saved_model.pb" in paths
    assert any(path.startswith("outputs/checkpoint") for path in paths)
    assert not any(path.startswith("nodes/") for path in paths)
    return run_id


def train_by_tensorflow(talk: Talk, workspace: str, distribution: dict[str, Any]) -> str:
    """Train on two nodes with TensorFlow's own strategies, in the image of Horovod's runs.

    Returns:
        The run's id; it has learnt as much as one process does.
    """
    run_id = submit(
        talk,
        TENSORFLOW_SCRIPT,
        workspace=workspace,
        beside=BESIDE_IT,
        node_count=2,
        environment=SHARED_ENVIRONMENT,
        distribution=distribution,
        script_params={"--data-folder": {"dataset": "digits"}},
    )
    await_status(talk, run_id, "Completed", workspace=workspace, seconds=COMPILE_SECONDS)
    address = f"/v1/workspaces/{workspace}/runs/{run_id}/files/outputs/accuracy.json"
    assert talk.get(address)["accuracy"] > 0.9
    return run_id


def printed(talk: Talk, workspace: str, run_id: str, rank: int) -> str:
    """What one rank printed."""
    return log(talk, workspace, run_id, f"?stream=user_logs/std_log_process_{rank}.txt")


def log(talk: Talk, workspace: str, run_id: str, which: str = "") -> str:
    """The run's log, or one stream of it."""
    address = f"/v1/workspaces/{workspace}/runs/{run_id}/logs{which}"
    return str(talk.client.get(address, headers=talk.authorization()).text)
