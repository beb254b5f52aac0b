"""Runs that are there and go nowhere: what is written to their history is all there is."""

import io
import tarfile
from typing import Any

from tests.live_api import LiveApi


async def make_request(api: LiveApi, *, experiment: str = "first") -> dict[str, Any]:
    """A body that ``POST …/runs`` takes."""
    made = await api.client.put("clusters/cpu", json={"vm_size": "small"})
    assert made.status_code in (200, 201), made.text
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("train.py"))
    snapshot = await api.client.put("snapshots", content=target.getvalue())
    return {
        "experiment_name": experiment,
        "snapshot_id": snapshot.json()["id"],
        "cluster_name": "cpu",
        "entry_script": "train.py",
    }


async def make_runs(api: LiveApi, count: int) -> list[str]:
    """Ids of new runs, oldest first."""
    body = await make_request(api)
    made = []
    for _ in range(count):
        answer = await api.client.post("runs", json=body)
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["id"])
    return made
