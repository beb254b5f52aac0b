"""Steps 1 to 4: a workspace, an experiment, a dataset and a cluster."""

import hashlib
import json

from examples.digits import ARCHIVES
from examples.walk.follow import poll
from examples.walk.plan import Walk
from examples.walk.talk import require

_CLUSTER_SECONDS = 60.0
_REGISTRATION_SECONDS = 120.0


def create_workspace(walk: Walk) -> None:
    """1: a workspace, and the file from which a client in any folder starts."""
    walk.talk.ask("PUT", walk.base, body={"description": "handwritten digits"}, expect=(200, 201))
    config = walk.talk.get(f"{walk.base}/config")
    require(
        config["workspace_name"] == walk.workspace, f"config.json names another workspace: {config}"
    )
    require(
        config["endpoint"].rstrip("/") == walk.talk.base,
        f"config.json names another server: {config}",
    )
    require("twt_" not in json.dumps(config), "config.json holds a token")
    (walk.folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def create_experiment(walk: Walk) -> None:
    """2: an experiment, under which runs are grouped."""
    address = f"{walk.base}/experiments/{walk.experiment}"
    walk.talk.ask("PUT", address, body={"description": "a small network"}, expect=(200, 201))


def register_dataset(walk: Walk) -> None:
    """3: a dataset from four web addresses; every file pinned by size, ETag and SHA-256."""
    body = {
        "name": walk.dataset,
        "description": "handwritten digits, 28×28",
        "urls": [f"{walk.digits_address}/{name}" for name in ARCHIVES],
        "create_new_version": False,
    }
    headers = {"Prefer": f"wait={_REGISTRATION_SECONDS:.0f}"}
    answer = walk.talk.ask(
        "POST", f"{walk.base}/datasets", body=body, headers=headers, expect=(200, 201)
    )
    version = answer.json()
    files = walk.talk.get(
        f"{walk.base}/datasets/{walk.dataset}/versions/{version['version']}/files"
    )["items"]
    pinned = {file["url"].rsplit("/", 1)[-1]: file["sha256"] for file in files}
    wanted = {
        name: hashlib.sha256((walk.digits / name).read_bytes()).hexdigest() for name in ARCHIVES
    }
    require(pinned == wanted, f"the dataset's files are not the four archives: {pinned}")
    again = walk.talk.ask(
        "POST", f"{walk.base}/datasets", body=body, headers=headers, expect=(200,), quiet=True
    ).json()
    require(again["version"] == version["version"], "identical content made a new version")


def create_cluster(walk: Walk) -> None:
    """4: the cluster, ready at once with no node: it grows when a run needs one."""
    address = f"{walk.base}/clusters/{walk.cluster}"
    body = {
        "vm_size": "STANDARD_NC6",
        "min_nodes": 0,
        "max_nodes": 4,
        "idle_seconds_before_scaledown": 120,
    }
    walk.talk.ask("PUT", address, body=body, expect=(200, 201))
    poll(
        walk.talk,
        address,
        until=lambda cluster: cluster["provisioning_state"] == "Succeeded",
        deadline_seconds=_CLUSTER_SECONDS,
        words="the cluster was ready",
    )
    walk.talk.get(address)
