"""What a sweep over the digits script finds within its budget, over the script's own defaults."""

import tarfile
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.figure import Figure, over_floor
from benchmarks.trivial_run import WORKSPACE, own_stack
from examples.digits import ARCHIVES, serve_folder, write_digits
from examples.walk.follow import TERMINAL, poll
from examples.walk.talk import Talk, require

_TRAINING = Path(__file__).resolve().parents[1] / "examples" / "train"
_SIZE = "STANDARD_NC6"
_PRICE_PER_HOUR = 0.6
_BUILD_SECONDS = 900.0
_SWEEP_SECONDS = 1800.0


def measure() -> list[Figure]:
    """Train once with the defaults, then sweep as `examples/train/digits_sweep.yaml` says.

    Returns:
        ``digits_sweep_accuracy``: the best validation accuracy over that of the defaults;
        ``digits_sweep_cost``: what its trials cost over the sweep's `max_cost`.
    """
    document = yaml.safe_load((_TRAINING / "digits_sweep.yaml").read_text())
    with (
        tempfile.TemporaryDirectory() as folder,
        serve_folder(Path(folder)) as address,
        own_stack(TRAINWRIGHT_FETCH_ALLOW='["127.0.0.1"]') as talk,
    ):
        write_digits(Path(folder))
        _prepare(talk, document, address)
        document["trial"]["snapshot_id"] = _source(talk)
        default = _default(talk, document)
        sweep = talk.ask("POST", f"{WORKSPACE}/sweeps", body=document, expect=(201,)).json()
        done = poll(
            talk,
            f"{WORKSPACE}/sweeps/{sweep['id']}",
            until=lambda seen: seen["ended_at"] is not None,
            deadline_seconds=_SWEEP_SECONDS,
            words="the sweep ended",
        )
    require(done["status"] == "Completed", f"the sweep did not complete: {done}")
    most = document["limits"]["max_cost"]
    return [
        over_floor("digits_sweep_accuracy", value=done["best_value"], unit="part", floor=default),
        over_floor("digits_sweep_cost", value=done["cost"], unit="EUR", floor=most),
    ]


def _prepare(talk: Talk, document: dict[str, Any], address: str) -> None:
    """A workspace with the digits, a cluster, and a price of its nodes."""
    talk.ask("PUT", WORKSPACE, body={}, expect=(200, 201))
    price = {"price_per_hour": _PRICE_PER_HOUR}
    talk.ask("PUT", f"/v1/vm-sizes/{_SIZE}/price", body=price, expect=(200, 201))
    cluster = f"{WORKSPACE}/clusters/{document['trial']['cluster_name']}"
    talk.ask("PUT", cluster, body={"vm_size": _SIZE, "max_nodes": 2}, expect=(200, 201))
    dataset = {"name": "digits", "urls": [f"{address}/{name}" for name in ARCHIVES]}
    headers = {"Prefer": "wait=60"}
    talk.ask("POST", f"{WORKSPACE}/datasets", body=dataset, headers=headers, expect=(200, 201))


def _source(talk: Talk) -> str:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "source.tar"
        with tarfile.open(archive, "w") as packed:
            packed.add(_TRAINING / "tf_mnist.py", "tf_mnist.py")
        snapshot = talk.upload(f"{WORKSPACE}/snapshots", file=archive, shown_as="source.tar")
    return str(snapshot["id"])


def _default(talk: Talk, document: dict[str, Any]) -> float:
    """The best validation accuracy with the script's defaults."""
    run = talk.ask("POST", f"{WORKSPACE}/runs", body=document["trial"], expect=(201,)).json()
    ended = poll(
        talk,
        f"{WORKSPACE}/runs/{run['id']}",
        until=lambda seen: seen["status"] in TERMINAL,
        deadline_seconds=_BUILD_SECONDS,
        words="the run with the defaults ended",
    )
    require(ended["status"] == "Completed", f"the run did not complete: {ended}")
    found = talk.get(f"{WORKSPACE}/runs/{run['id']}/metrics/summary")["items"]
    metric = document["objective"]["primary_metric"]
    return float(next(one["max"] for one in found if one["name"] == metric))
