"""The process dies at each named place in turn; others go on, and the work is done, once.

Each case sends off work that passes the place, waits until somebody died there, until the work has
its end all the same, and reads the history for what must hold.
"""

import hashlib
import io
import shutil
import tarfile
import uuid
from contextlib import suppress
from functools import partial
from typing import Any

import psutil
import psycopg
import pytest

from app.kernel.crash_points import CrashPoint
from tests.datasets.web import web_server
from tests.environments.index import PackageIndex
from tests.faults.small_stack import SmallStack
from tests.serving import wire
from workers.runner import crash_points as runner_points

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]

SCRIPT = (
    "import time\nfor n in range(5): print(n, flush=True)\nopen('outputs/o', 'w').write('{}')\n"
)
SLEEPING = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def submit(stack: SmallStack, script: str, **more: Any) -> str:
    snapshot = stack.ask(
        "PUT", "/snapshots", content=packed({"script.py": script.encode()}), expect=(200, 201)
    )
    body = {
        "experiment_name": "points", "snapshot_id": snapshot["id"], "cluster_name": "cpu",
        "entry_script": "script.py", **more,
    }  # fmt: skip
    return str(stack.ask("POST", "/runs", body, expect=(201,))["id"])


def end(stack: SmallStack, run_id: str, status: str = "Completed") -> dict[str, Any]:
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        found.update(stack.ask("GET", f"/runs/{run_id}"))
        return bool(found["ended_at"])

    stack.wait(has_ended, what=lambda: str(found))
    assert found["status"] == status, found
    return found


def run(stack: SmallStack, **more: Any) -> None:
    """A run with outputs, which completes."""
    text = uuid.uuid4().hex
    run_id = submit(stack, SCRIPT.format(text), **more)
    end(stack, run_id)
    assert stack.ask("GET", f"/runs/{run_id}/files/outputs/o") == text.encode()
    log = stack.ask("GET", f"/runs/{run_id}/logs?stream=user_logs/std_log.txt")
    assert log == b"0\n1\n2\n3\n4\n"


def run_in_new_environment(stack: SmallStack, index: PackageIndex) -> None:
    name = f"p{uuid.uuid4().hex}"
    index.add(name, "1.0")
    run(stack, environment={"pip_packages": [f"{name}==1.0"]})


def cancelled_run(stack: SmallStack) -> None:
    run_id = submit(stack, SLEEPING)
    stack.wait(lambda: stack.ask("GET", f"/runs/{run_id}")["status"] == "Running")
    stack.ask("POST", f"/runs/{run_id}/cancel", expect=(202,))
    end(stack, run_id, "Canceled")


def _is_past(stack: SmallStack, run_id: str, attempt: int) -> bool:
    found = stack.ask("GET", f"/runs/{run_id}")
    return found["attempt"] > attempt or bool(found["ended_at"])


def run_whose_node_is_lost(stack: SmallStack) -> None:
    run_id = submit(stack, SLEEPING, max_attempts=2)
    for attempt in (1, 2):
        name = f"tw-{run_id}-a{attempt}-n0"
        stack.wait(lambda: stack.ask("GET", f"/runs/{run_id}")["status"] == "Running")
        for process in processes_of(stack, name):
            with suppress(psutil.NoSuchProcess):
                if "runner/main.py" in " ".join(process.cmdline()):
                    process.kill()
        stack.wait(partial(_is_past, stack, run_id, attempt))
    assert end(stack, run_id, "Failed")["error"]["code"] == "node_lost"


def processes_of(stack: SmallStack, name: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TRAINWRIGHT_NODE", "").startswith(name):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def dataset(stack: SmallStack) -> None:
    name = f"d{uuid.uuid4().hex}"
    with web_server() as web:
        body = {"name": name, "urls": [web.add("/one", b"1"), web.add("/two", b"22")]}
        made = stack.ask("POST", "/datasets", body, headers={"Prefer": "wait=0"}, expect=(201, 202))
        stack.wait(
            lambda: stack.ask("GET", f"/datasets/{name}", expect=(200, 404)).get("latest_version")
        )
    assert made
    versions = stack.ask("GET", f"/datasets/{name}/versions")["items"]
    assert [(one["version"], one["size_bytes"]) for one in versions] == [(1, 3)]


def upload(stack: SmallStack) -> None:
    data = uuid.uuid4().bytes * 1000
    made = stack.ask("POST", "/uploads", {"size_bytes": len(data)}, expect=(201,))
    path = f"/uploads/{made['id']}"
    is_sent = False
    while not is_sent:
        # A client of sense asks where to go on, and sends the rest.
        offset = stack.ask("GET", path)["offset_bytes"]
        answer = stack.ask(
            "PATCH", path, content=data[offset:], headers={"Upload-Offset": str(offset)},
            expect=(200, 409),
        )  # fmt: skip
        is_sent = bool(answer.get("completed_at")) or answer.get("code") == "upload_complete"
    digest = hashlib.sha256(data).hexdigest()
    assert stack.ask("GET", f"/blobs/{digest}") == data


def model(stack: SmallStack) -> str:
    name = f"m{uuid.uuid4().hex[:20]}"
    files = {"saved_model.pb": wire.digits_model(), "variables/variables.index": b"index"}
    stack.ask("PUT", f"/models/{name}/archive", content=packed(files), expect=(201,))
    path = f"/models/{name}/versions/1"
    stack.wait(lambda: stack.ask("GET", path)["signature_state"] != "Pending")
    assert stack.ask("GET", path)["signature_state"] == "Ready"
    return name


def deployment(stack: SmallStack) -> None:
    """One whose replicas cannot serve, as their environment lacks the framework; then deleted."""
    model_name, name = model(stack), f"d-{uuid.uuid4().hex[:20]}"
    with stack.workers_held():
        path = f"/deployments/{name}"
        made = stack.ask("PUT", path, {"model_name": model_name}, expect=(201,))
        pretend_built(stack, made["image_hash"])
    replica = f"tw-{made['id']}"
    seen: set[str] = set()

    def is_replaced() -> bool:
        # The one before may be gone already when its successor is shown.
        seen.update(each["name"] for each in stack.ask("GET", path)["replica_states"])
        return len(seen) > 1 and stack.has_crashed()

    try:
        stack.wait(is_replaced)
    finally:
        # What stays would be found by all the points that follow.
        stack.ask("DELETE", path, expect=(200, 202, 204))
    stack.wait(lambda: "id" not in stack.ask("GET", path, expect=(200, 404)))
    stack.wait(lambda: not processes_of(stack, replica))
    stack.wait(lambda: not list((stack.data_dir / "nodes").glob(f"{replica}*")))


def pretend_built(stack: SmallStack, image_hash: str) -> None:
    """Put a plain environment where one with the framework would be."""
    images = stack.data_dir / "images"
    marker = next(images.glob("*/*/image.json"))
    if not (images / image_hash).exists():
        shutil.copytree(marker.parent, images / image_hash / "plain", symlinks=True)


def sweep(stack: SmallStack) -> None:
    script = "from azureml.core import Run\nRun.get_context().log('loss', 1.0)\n"
    snapshot = stack.ask(
        "PUT", "/snapshots", content=packed({"script.py": script.encode()}), expect=(200, 201)
    )
    trial = {
        "experiment_name": "points", "cluster_name": "cpu", "entry_script": "script.py",
        "snapshot_id": snapshot["id"],
    }  # fmt: skip
    body = {
        "trial": trial,
        "search_space": {"x": {"type": "uniform", "min": 0, "max": 1}},
        "algorithm": {"type": "random"},
        "objective": {"primary_metric": "loss", "goal": "minimize"},
        "limits": {"max_trials": 2, "max_concurrent_trials": 2},
    }
    path = f"/sweeps/{stack.ask('POST', '/sweeps', body, expect=(201,))['id']}"
    stack.wait(lambda: stack.ask("GET", path)["ended_at"])
    assert stack.ask("GET", path)["completed_count"] == 2
    trials = stack.ask("GET", f"{path}/trials")["items"]
    assert [one["number"] for one in trials] == [0, 1]
    assert len({one["run_id"] for one in trials}) == 2


def leak(stack: SmallStack) -> None:
    folder = stack.data_dir / "nodes" / f"tw-run_{uuid.uuid4().hex}-a1-n0"
    folder.mkdir()
    stack.wait(lambda: not folder.exists())


COLLECT = """
import asyncio
from app.garbage.service import collect
from app.kernel.config import get_settings
from app.kernel.db import Database
from app.storage.configured import make_object_store
import app.tables.registry

class Nobody:
    def send(self, hints):
        pass

async def main():
    database = Database(get_settings(), Nobody())
    try:
        await collect(database, make_object_store(get_settings()), unused_for_seconds=0)
    finally:
        await database.close()

asyncio.run(main())
"""


def garbage(stack: SmallStack) -> None:
    data = uuid.uuid4().bytes
    sha256 = hashlib.sha256(data).hexdigest()
    stack.ask("PUT", f"/blobs/{sha256}", content=data, expect=(200, 201))
    assert stack.python(COLLECT) == -9
    assert stack.python(COLLECT) == 0
    stack.ask("GET", f"/blobs/{sha256}", expect=(404,))
    assert not list((stack.data_dir / "objects").rglob(f"*{sha256}*"))
    run(stack)


WALKS: dict[str, Any] = {
    CrashPoint.DATASET_FETCHED: dataset,
    CrashPoint.NODE_STOPPED: cancelled_run,
    CrashPoint.ATTEMPT_GIVEN_UP: run_whose_node_is_lost,
    CrashPoint.UPLOAD_HASHED: upload,
    CrashPoint.UPLOAD_PLACED: upload,
    CrashPoint.MODEL_INSPECTED: model,
    CrashPoint.REPLICA_WRITTEN: deployment,
    CrashPoint.REPLICA_STARTED: deployment,
    CrashPoint.REPLICA_REMOVED: deployment,
    CrashPoint.TRIALS_PROPOSED: sweep,
    CrashPoint.TRIAL_UNCOMMITTED: sweep,
    CrashPoint.LEAK_REMOVED: leak,
    CrashPoint.NAMES_DELETED: garbage,
    CrashPoint.OBJECTS_SET_ASIDE: garbage,
}
OF_API = {"request", "run", "committed", "upload", "object"}
BUILDING = {CrashPoint.BUILD_BEGUN, CrashPoint.BUILD_UNMARKED, CrashPoint.BUILD_MARKED}


def in_turns() -> list[str]:
    """All points; those of the API stand apart, so that the killed one is back in time."""
    of_api = [p for p in CrashPoint if p.partition("-")[0] in OF_API]
    others = [p for p in CrashPoint if p not in of_api]
    ordered: list[str] = list(runner_points.POINTS)
    while others:
        ordered += others[:3] + of_api[:1]
        del others[:3], of_api[:1]
    return [str(point) for point in ordered + of_api]


@pytest.mark.parametrize("point", in_turns())
@pytest.mark.fault(1, 2, 3, 4, 5, 6, 49)
def test_a_death_at_this_point_loses_nothing_and_doubles_nothing(
    stack: SmallStack, index: PackageIndex, point: str
) -> None:
    stack.arm(point)
    if point in BUILDING:
        run_in_new_environment(stack, index)
    else:
        WALKS.get(point, run)(stack)
    assert stack.has_crashed(), f"nobody came to {point}"
    stack.assert_whole()
    stack.wait(lambda: not unfinished(stack), seconds=90, what=lambda: str(unfinished(stack)))


def unfinished(stack: SmallStack) -> list[Any]:
    """Rows of other kinds that are not where they belong."""
    url = stack.database_url.replace("postgresql+psycopg", "postgresql")
    statement = (
        "SELECT 'image', id FROM images WHERE state IN ('Building', 'Queued')"
        " UNION ALL SELECT 'sweep', id FROM sweeps WHERE ended_at IS NULL"
        " UNION ALL SELECT 'registration', id FROM dataset_registrations WHERE state = 'Pending'"
        " UNION ALL SELECT 'model', id FROM model_versions WHERE signature_state = 'Pending'"
        " UNION ALL SELECT 'deployment', id FROM deployments"
    )
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()
