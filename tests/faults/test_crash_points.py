"""The process dies at each named place in turn; others go on, and the work is done, once.

Each case sends off work that passes the place, waits until somebody died there, until the work has
its end all the same, and reads the history for what must hold.
"""

import hashlib
import io
import tarfile
import uuid
from contextlib import closing, suppress
from functools import cache, partial
from typing import Any, LiteralString

import httpx2
import psutil
import psycopg
import pytest

from app.auth.signing import Signer
from app.kernel.crash_points import CrashPoint
from app.kernel.ids import new_id
from app.providers.base import LOCAL
from tests import docker_engine
from tests.datasets.web import web_server
from tests.environments.index import PackageIndex
from tests.faults.small_stack import SmallStack
from tests.serving import onnx_models, wire
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


def end(
    stack: SmallStack, run_id: str, status: str = "Completed", *, seconds: float = 60.0
) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        found.update(stack.ask("GET", f"/runs/{run_id}"))
        return bool(found["ended_at"])

    stack.wait(has_ended, seconds=seconds, what=lambda: str(found))
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


def upload_in_parts(stack: SmallStack) -> None:
    data = [uuid.uuid4().bytes * 1000 for _ in range(3)]
    protocol, name = "/mlflow/api/2.0/mlflow-artifacts", f"f{uuid.uuid4().hex}"
    begun = stack.ask("POST", f"{protocol}/mpu/create/kept", {"path": name, "num_parts": 3})
    etags = [
        httpx2.put(one["url"], headers=one["headers"], content=part).headers["etag"]
        for one, part in zip(begun["credentials"], data, strict=True)
    ]
    parts = [{"part_number": at, "etag": etag} for at, etag in enumerate(etags, start=1)]
    body = {"path": name, "upload_id": begun["upload_id"], "parts": parts}
    stack.ask("POST", f"{protocol}/mpu/complete/kept", body)
    assert stack.ask("GET", f"{protocol}/artifacts/kept/{name}") == b"".join(data)
    assert not list((stack.data_dir / "objects").rglob(f"{begun['upload_id']}*"))


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
    path = f"/deployments/{name}"
    made = stack.ask("PUT", path, {"model_name": model_name}, expect=(201,))
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
    assert_no_node(stack, replica)


def assert_no_node(stack: SmallStack, prefix: str) -> None:
    stack.wait(lambda: not processes_of(stack, prefix))
    stack.wait(lambda: not list((stack.data_dir / "nodes").glob(f"{prefix}*")))


def loaded_model(stack: SmallStack) -> str:
    """An ONNX model, which a node of its own really loads and asks for a sample, once."""
    name = f"m{uuid.uuid4().hex[:20]}"
    files = {"model.onnx": onnx_models.matrix_product()}
    made = stack.ask("PUT", f"/models/{name}/archive", content=packed(files), expect=(201,))
    path = f"/models/{name}/versions/1"
    found: dict[str, Any] = {}

    def is_over() -> bool:
        found.update(stack.ask("GET", path))
        return found["capture"]["state"] in ("Captured", "Failed")

    stack.wait(is_over, seconds=180, what=lambda: str(found))
    assert (found["capture"]["state"], found["signature_state"]) == ("Captured", "Ready"), found
    (row,) = rows_of(
        stack,
        "SELECT id, start, (SELECT count(*) FROM model_samples s"
        " WHERE s.model_version_id = c.model_version_id) FROM model_captures c"
        " WHERE model_version_id = %s",
        made["id"],
    )
    assert row[1:] == (1, 1), "one node, and one sample"
    assert_no_node(stack, f"tw-{row[0]}")
    return name


@cache
def known_model(stack: SmallStack) -> str:
    return loaded_model(stack)


def batch_scoring(stack: SmallStack) -> None:
    """Two rows through a model, once; what was predicted is one dataset version."""
    table, predicted = (f"{what}{uuid.uuid4().hex}" for what in ("rows", "predicted"))
    with web_server() as web:
        body = {"name": table, "urls": [web.add("/rows.csv", b"a,b\n1,0\n0,1\n")]}
        stack.ask("POST", "/datasets", body, expect=(201,))
    asked = {
        "experiment_name": "points", "cluster_name": "cpu", "model_name": known_model(stack),
        "dataset_name": table, "output_dataset_name": predicted,
    }  # fmt: skip
    (before,) = rows_of(stack, "SELECT count(*) FROM runs WHERE kind = 'job'")
    path = f"/batch-scorings/{stack.ask('POST', '/batch-scorings', asked, expect=(201,))['id']}"
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        found.update(stack.ask("GET", path))
        return bool(found["ended_at"])

    stack.wait(has_ended, what=lambda: str(found))
    assert (found["status"], found["rows_scored"], found["rows_failed"]) == ("Completed", 2, 0)
    versions = stack.ask("GET", f"/datasets/{predicted}/versions")["items"]
    assert [one["version"] for one in versions] == [1]
    (file,) = stack.ask("GET", f"/datasets/{predicted}/versions/1/files")["items"]
    lines = stack.ask("GET", f"/datasets/{predicted}/versions/1/files/{file['path']}")
    assert len(lines.splitlines()) == 2
    assert rows_of(stack, "SELECT count(*) FROM runs WHERE kind = 'job'") == [(before[0] + 1,)]


def input_volume(stack: SmallStack) -> None:
    """The content of a dataset version in a volume of the engine, filled, read and removed."""
    name, volume = f"d{uuid.uuid4().hex}", new_id("tw-data")
    with web_server() as web:
        body = {"name": name, "urls": [web.add("/one", b"1"), web.add("/two", b"22")]}
        stack.ask("POST", "/datasets", body, expect=(201,))
    owner = Signer.load(stack.data_dir).installation_id
    image = docker_engine.base_image()

    def state() -> str | None:
        found = rows_of(stack, "SELECT state FROM input_volumes WHERE id = %s", volume)
        return str(found[0][0]) if found else None

    with closing(docker_engine.client()) as engine:
        try:
            rows_of(
                stack,
                "INSERT INTO input_volumes (id, host, fingerprint, version_id, image, size_bytes,"
                " next_check_at) SELECT %s, %s, v.fingerprint, v.id, %s, v.size_bytes,"
                " clock_timestamp() FROM dataset_versions v JOIN datasets d ON d.id = v.dataset_id"
                " WHERE d.name = %s RETURNING id",
                volume, LOCAL, image, name,
            )  # fmt: skip
            stack.wait(lambda: state() == "Ready")
            assert docker_engine.kept_inputs(engine, owner) == [volume]
            assert docker_engine.files_of(engine, volume, image) == {"one": b"1", "two": b"22"}
            rows_of(
                stack,
                "UPDATE input_volumes SET state = 'Leaving', next_check_at = clock_timestamp(),"
                " wake_seq = wake_seq + 1 WHERE id = %s RETURNING id",
                volume,
            )
            stack.wait(lambda: state() is None)
            assert docker_engine.kept_inputs(engine, owner) == []
            assert docker_engine.left_of_nodes(engine, owner) == []
        finally:
            for left in docker_engine.kept_inputs(engine, owner):
                engine.remove_volume(left, force=True)


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
    CrashPoint.UPLOAD_JOINED: upload_in_parts,
    CrashPoint.MODEL_INSPECTED: model,
    CrashPoint.CAPTURE_NAMED: loaded_model,
    CrashPoint.CAPTURE_STARTED: loaded_model,
    CrashPoint.CAPTURE_READ: loaded_model,
    CrashPoint.CAPTURE_REMOVED: loaded_model,
    CrashPoint.SCORING_SUBMITTED: batch_scoring,
    CrashPoint.SCORING_COUNTED: batch_scoring,
    CrashPoint.SCORING_ENDING: batch_scoring,
    CrashPoint.VOLUME_FILLED: input_volume,
    CrashPoint.VOLUME_REMOVED: input_volume,
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
OF_ENGINE = (CrashPoint.VOLUME_FILLED, CrashPoint.VOLUME_REMOVED)
"""Only workers with an engine of containers come there."""
BUILDING = {CrashPoint.BUILD_BEGUN, CrashPoint.BUILD_UNMARKED, CrashPoint.BUILD_MARKED}


def in_turns() -> list[Any]:
    """All points; those of the API stand apart, so that the killed one is back in time."""
    of_api = [p for p in CrashPoint if p.partition("-")[0] in OF_API]
    others = [p for p in CrashPoint if p not in of_api and p not in OF_ENGINE]
    ordered: list[str] = list(runner_points.POINTS)
    while others:
        ordered += others[:3] + of_api[:1]
        del others[:3], of_api[:1]
    of_engine = [pytest.param(str(point), marks=pytest.mark.docker) for point in OF_ENGINE]
    return [str(point) for point in ordered + of_api] + of_engine


@pytest.fixture
def passing(request: pytest.FixtureRequest, point: str) -> SmallStack:
    """The installation whose processes come to the point."""
    name = "stack_of_containers" if point in OF_ENGINE else "stack"
    stack: SmallStack = request.getfixturevalue(name)
    return stack


@pytest.mark.parametrize("point", in_turns())
@pytest.mark.fault(1, 2, 3, 4, 5, 6, 49)
def test_a_death_at_this_point_loses_nothing_and_doubles_nothing(
    passing: SmallStack, index: PackageIndex, point: str
) -> None:
    passing.arm(point)
    if point in BUILDING:
        run_in_new_environment(passing, index)
    else:
        WALKS.get(point, run)(passing)
    assert passing.has_crashed(), f"nobody came to {point}"
    passing.assert_whole()
    passing.wait(lambda: not unfinished(passing), seconds=90, what=lambda: str(unfinished(passing)))


def unfinished(stack: SmallStack) -> list[Any]:
    """Rows of other kinds that are not where they belong."""
    return rows_of(
        stack,
        "SELECT 'image', id FROM images WHERE state IN ('Building', 'Queued')"
        " UNION ALL SELECT 'sweep', id FROM sweeps WHERE ended_at IS NULL"
        " UNION ALL SELECT 'registration', id FROM dataset_registrations WHERE state = 'Pending'"
        " UNION ALL SELECT 'model', id FROM model_versions WHERE signature_state = 'Pending'"
        " UNION ALL SELECT 'capture', id FROM model_captures"
        " WHERE node_name IS NOT NULL OR state IN ('Pending', 'Running')"
        " UNION ALL SELECT 'scoring', id FROM batch_scorings WHERE ended_at IS NULL"
        " UNION ALL SELECT 'volume', id FROM input_volumes"
        " UNION ALL SELECT 'deployment', id FROM deployments",
    )


def rows_of(stack: SmallStack, statement: LiteralString, *given: str) -> list[Any]:
    url = stack.database_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url) as connection:
        return connection.execute(statement, given).fetchall()
