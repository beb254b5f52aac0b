"""Submitting one-file scripts to a whole stack, and waiting for what becomes of them."""

import io
import tarfile
import time
from collections.abc import Callable
from typing import Any

import httpx2

from examples.walk.talk import Talk

_ENDS = frozenset({"Completed", "Failed", "Canceled"})


def submit(
    talk: Talk, script: str, *, workspace: str, beside: dict[str, str] | None = None, **more: Any
) -> str:
    """Submit a script as ``script.py`` to the cluster ``cpu``; returns the run's id.

    Args:
        talk: the server.
        script: the text.
        workspace: its name.
        beside: further files by name.
        more: of the request.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in {"script.py": script, **(beside or {})}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    answer = talk.client.put(
        f"/v1/workspaces/{workspace}/snapshots",
        content=packed.getvalue(),
        headers=talk.authorization(),
    )
    body = {
        "experiment_name": workspace,
        "snapshot_id": answer.json()["id"],
        "cluster_name": "cpu",
        "entry_script": "script.py",
        **more,
    }
    created = talk.ask("POST", f"/v1/workspaces/{workspace}/runs", body=body, expect=(201,))
    return str(created.json()["id"])


def run_of(talk: Talk, run_id: str, *, workspace: str) -> dict[str, Any]:
    """The run; a control plane that is away for a moment is asked again."""
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = talk.client.get(
                f"/v1/workspaces/{workspace}/runs/{run_id}", headers=talk.authorization()
            )
            if answer.status_code == 200:
                return dict(answer.json())
        except httpx2.TransportError:
            pass
        assert time.monotonic() < deadline, "the API did not come back"
        time.sleep(0.1)


def await_status(
    talk: Talk, run_id: str, *statuses: str, workspace: str, seconds: float = 90
) -> dict[str, Any]:
    """Wait for one of the statuses; another end, or none in time, fails the test."""
    deadline = time.monotonic() + seconds
    while (run := run_of(talk, run_id, workspace=workspace))["status"] not in statuses:
        assert time.monotonic() < deadline, f"still {run['status']}: {run}"
        assert run["status"] not in _ENDS, run
        time.sleep(0.1)
    return run


def await_true(what: Callable[[], bool], *, seconds: float = 90) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)


def cancel_all(talk: Talk, *, workspace: str) -> None:
    """Cancel what goes on and wait for its end: a test that failed keeps no node from the next."""
    base = f"/v1/workspaces/{workspace}"
    await_true(lambda: talk.client.get("/readyz").is_success)

    def going_on(kind: str) -> list[str]:
        items = talk.get(f"{base}/{kind}?page_size=1000", quiet=True)["items"]
        return [f"{base}/{kind}/{each['id']}" for each in items if each["ended_at"] is None]

    def cancel(kind: str) -> None:
        for path in going_on(kind):
            talk.ask("POST", f"{path}/cancel", quiet=True, expect=(202, 409))
        await_true(lambda: not going_on(kind), seconds=120)

    cancel("sweeps")  # which would go on submitting runs
    cancel("runs")
