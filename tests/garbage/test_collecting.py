"""What nothing refers to is freed, what something refers to never is, whoever interferes."""

import asyncio
import hashlib
import io
import os
import random
import tarfile
import threading
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from sqlalchemy import func, select, update

from app.auth.service import create_first_token
from app.blobs import repository as blobs
from app.garbage import hold
from app.garbage.service import Collected, collect
from app.kernel.broker import BrokerHints
from app.kernel.clock import utc_now
from app.kernel.db import Database
from app.kernel.signals import Signals
from app.storage.objects import ObjectStore
from app.storage.remote import RemoteObjects
from app.storage.unused import UnusedObjects
from app.storage.writer import StoredObject
from app.tables.blob import Blob
from app.tables.dataset import Dataset, DatasetFile, DatasetVersion
from app.tables.log import LogStream
from app.tables.run import Attempt, Run, RunFile, RunNode
from app.tables.upload import PartUpload
from tests.live_api import LiveApi, live_api
from tests.made_runs import make_runs
from workers.collect_garbage import GarbageCollector

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


async def put(api: LiveApi, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    assert (await api.client.put(f"blobs/{sha256}", content=data)).status_code == 201
    return sha256


async def grow_old(api: LiveApi, *digests: str) -> None:
    """As if the bytes had been stored, and asked about, long ago."""
    long_ago = time.time() - 30 * 24 * 3600
    for digest in digests:
        path = api.objects.local_path(digest)
        assert path is not None
        os.utime(path, (long_ago, path.stat().st_mtime))
        async with api.database.session() as session:
            workspace = (await api.client.get(".")).json()["id"]
            row = await session.get_one(Blob, (workspace, digest))
            row.used_at = row.used_at.replace(year=2020)


async def free(api: LiveApi) -> Collected:
    return await collect(api.database, api.objects, unused_for_seconds=24 * 3600)


async def test_only_what_is_old_and_not_referred_to_goes(api: LiveApi) -> None:
    old = await put(api, b"old and unused")
    young = await put(api, b"young and unused")
    await grow_old(api, old)
    usage = (await api.client.get("storage")).json()
    assert (usage["objects_count"], usage["unreferenced_objects_count"]) == (2, 2)
    done = await free(api)
    assert done.freed_bytes >= len(b"old and unused")
    assert await api.objects.missing([old, young]) == [old]
    assert (await api.client.get(f"blobs/{old}")).status_code == 404
    assert (await api.client.get(f"blobs/{young}")).content == b"young and unused"
    usage = (await api.client.get("storage")).json()
    assert usage["size_bytes"] == len(b"young and unused")


async def test_what_snapshots_and_models_refer_to_stays_until_they_are_deleted(
    api: LiveApi,
) -> None:
    source, weights = b"print('only this test has this')", random.Random(1).randbytes(500)
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        member = tarfile.TarInfo("train.py")
        member.size = len(source)
        archive.addfile(member, io.BytesIO(source))
    snapshot = (await api.client.put("snapshots", content=target.getvalue())).json()["id"]
    of_source, of_weights = hashlib.sha256(source).hexdigest(), await put(api, weights)
    file = {"path": "model.bin", "sha256": of_weights, "size_bytes": len(weights)}
    answer = await api.client.post("models/net/versions", json={"files": [file]})
    assert answer.status_code == 201, answer.text
    await grow_old(api, of_source, of_weights)
    await free(api)
    assert await api.objects.missing([of_source, of_weights]) == []
    assert (await api.client.delete(f"snapshots/{snapshot}")).status_code == 204
    assert (await api.client.delete("models/net")).status_code == 204
    await free(api)
    assert await api.objects.missing([of_source, of_weights]) == [of_source, of_weights]


async def test_artifacts_of_no_run_stay_until_they_are_deleted(api: LiveApi) -> None:
    protocol = "mlflow/api/2.0"
    made = await api.client.post(f"{protocol}/mlflow/logged-models", json={"name": "alone"})
    where = made.json()["model"]["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    paths = [f"{protocol}/mlflow-artifacts/artifacts/{folder}" for folder in (where, "shared")]
    digests = []
    for path in paths:
        assert (await api.client.put(f"{path}/a", content=path.encode())).status_code == 200
        digests.append(hashlib.sha256(path.encode()).hexdigest())
    await grow_old(api, *digests)
    await free(api)
    for path in paths:
        assert (await api.client.get(f"{path}/a")).content == path.encode()
        assert (await api.client.delete(f"{path}/a")).status_code == 200
    await grow_old(api, *digests)
    await free(api)
    assert await api.objects.missing(digests) == digests


async def test_data_what_nodes_saved_and_sealed_logs_stay(api: LiveApi) -> None:
    [run_id] = await make_runs(api, 1)
    kinds = ("data", "outputs", "checkpoint", "log", "times", "expired", "loose")
    digests = {kind: await put(api, f"{run_id} {kind}".encode()) for kind in kinds}
    workspace = (await api.client.get(".")).json()["id"]
    async with api.database.session() as session:
        dataset = Dataset(id=f"ds_{run_id}", workspace_id=workspace, name="d")
        version = DatasetVersion(
            id=f"v_{run_id}",
            dataset_id=dataset.id,
            version=1,
            fingerprint="",
            file_count=1,
            size_bytes=4,
        )
        file = DatasetFile(
            version_id=version.id, path="a", url="", size_bytes=4, sha256=digests["data"]
        )
        node = RunNode(
            name=f"n_{run_id}",
            run_id=run_id,
            attempt=1,
            node_index=0,
            outputs=[{"path": "a", "sha256": digests["outputs"]}],
            checkpoint=[{"path": "b", "sha256": digests["checkpoint"]}],
        )
        log = LogStream(
            owner=run_id,
            attempt=1,
            name="a",
            sha256=digests["log"],
            times_sha256=digests["times"],
        )
        expired = LogStream(
            owner=run_id, attempt=1, name="b", sha256=digests["expired"], expired_at=utc_now()
        )
        for row in (dataset, version, file, Attempt(run_id=run_id, number=1), node, log, expired):
            session.add(row)
            await session.flush()
    await grow_old(api, *digests.values())
    await free(api)
    gone = await api.objects.missing(digests.values())
    assert gone == [digests["expired"], digests["loose"]]


async def test_equal_bytes_of_another_workspace_stay(api: LiveApi) -> None:
    mine = await put(api, b"shared bytes")
    base = str(api.client.base_url).rstrip("/")
    other = f"{base}-other"
    await api.client.put(other)
    await api.client.put(f"{other}/blobs/{mine}", content=b"shared bytes")
    await grow_old(api, mine)
    await free(api)
    assert (await api.client.get(f"blobs/{mine}")).status_code == 404
    assert (await api.client.get(f"{other}/blobs/{mine}")).content == b"shared bytes"


async def test_asking_what_is_missing_keeps_the_answer_true(api: LiveApi) -> None:
    digest = await put(api, b"asked about")
    await grow_old(api, digest)
    asked = await api.client.post("blobs/missing", json={"sha256": [digest]})
    assert asked.json() == {"missing": []}
    await free(api)
    assert (await api.client.get(f"blobs/{digest}")).content == b"asked about"


async def test_a_run_that_is_over_is_deleted_with_all_that_is_its_own(api: LiveApi) -> None:
    [run_id] = await make_runs(api, 1)
    digest = await put(api, b"an output")
    refused = await api.client.delete(f"runs/{run_id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "run_not_over")
    async with api.database.session() as session:
        run = await session.get_one(Run, run_id)
        run.status, run.sealed_at = "Completed", utc_now()
        session.add(
            RunFile(
                run_id=run_id,
                path="outputs/a",
                sha256=digest,
                size_bytes=9,
                origin="outputs",
                attempt=1,
            )
        )
    used = await api.client.get(f"runs/{run_id}")
    snapshot = used.json()["snapshot_id"]
    in_use = await api.client.delete(f"snapshots/{snapshot}")
    assert (in_use.status_code, in_use.json()["code"]) == (409, "snapshot_in_use")
    await grow_old(api, digest)
    await free(api)
    assert (await api.client.get(f"runs/{run_id}/files/outputs/a")).content == b"an output"
    assert (await api.client.delete(f"runs/{run_id}")).status_code == 204
    assert (await api.client.get(f"runs/{run_id}")).status_code == 404
    assert (await api.client.delete(f"snapshots/{snapshot}")).status_code == 204
    await grow_old(api, digest)  # it was read meanwhile
    await free(api)
    assert await api.objects.missing([digest]) == [digest]


async def test_a_run_of_a_tracking_client_is_deleted_once_it_has_ended(api: LiveApi) -> None:
    protocol = "mlflow/api/2.0/mlflow"
    made = await api.client.post(f"{protocol}/experiments/create", json={"name": "tracked"})
    body = {"experiment_id": made.json()["experiment_id"]}
    run = (await api.client.post(f"{protocol}/runs/create", json=body)).json()["run"]["info"]
    assert (await api.client.delete(f"runs/{run['run_id']}")).status_code == 409
    ended = {"run_id": run["run_id"], "status": "FINISHED", "end_time": 1}
    await api.client.post(f"{protocol}/runs/update", json=ended)
    assert (await api.client.delete(f"runs/{run['run_id']}")).status_code == 204
    assert (await api.client.get(f"runs/{run['run_id']}")).status_code == 404


async def test_what_crashed_writers_left_goes_with_the_regular_collection(api: LiveApi) -> None:
    old, young = (api.objects.root / "incoming" / name for name in ("spool-old", "spool-young"))
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    await GarbageCollector(api.database, api.objects, settings=api.settings).collect()
    assert (old.exists(), young.exists()) == (False, True)


async def test_parts_that_nobody_puts_together_go_with_their_upload(api: LiveApi) -> None:
    protocol = "mlflow/api/2.0/mlflow-artifacts/mpu"
    uploads = []
    for name in ("old", "young"):
        begun = await api.client.post(f"{protocol}/create/d", json={"path": name, "num_parts": 2})
        one = begun.json()["credentials"][0]
        sent = await api.client.put(one["url"], headers=one["headers"], content=b"part")
        assert sent.status_code == 200, sent.text
        uploads.append(begun.json()["upload_id"])
    stray = api.objects.root / "partial" / "mpu_deleted.7"
    stray.touch()
    for path in (api.objects.root / "partial").iterdir():
        os.utime(path, (0, 0))
    async with api.database.session() as session:
        statement = update(PartUpload).where(PartUpload.id == uploads[0])
        await session.execute(statement.values(updated_at=utc_now() - timedelta(days=8)))
    await GarbageCollector(api.database, api.objects, settings=api.settings).collect()
    left = [path.name for path in (api.objects.root / "partial").iterdir()]
    assert left == [f"{uploads[1]}.1"]
    async with api.database.session() as session:
        assert await session.get(PartUpload, uploads[0]) is None


async def test_an_interrupted_collection_is_made_good_by_the_next(api: LiveApi) -> None:
    held, loose = await put(api, b"held"), hashlib.sha256(b"loose").hexdigest()
    await api.objects.put_bytes(b"loose")
    unused = UnusedObjects(api.objects.root)
    assert set(unused.set_aside([held, loose], unused_for_seconds=-1)) == {held, loose}
    await free(api)
    assert (await api.client.get(f"blobs/{held}")).content == b"held"
    assert await api.objects.missing([loose]) == [loose]
    assert unused.leftovers() == []


async def test_storing_the_same_bytes_while_they_are_collected_keeps_them(tmp_path: Path) -> None:
    """Whatever the interleaving: after `put` has returned, the bytes are there."""
    store = ObjectStore(tmp_path)
    unused = UnusedObjects(tmp_path)
    stored = await store.put_bytes(b"wanted")
    is_over = threading.Event()

    def collect_for_ever() -> None:
        while not is_over.is_set():
            path = store.local_path(stored.sha256)
            if path is not None:
                make_old(path)
            unused.drop(unused.set_aside([stored.sha256], unused_for_seconds=3600))

    def make_old(path: Path) -> None:
        # Only what was not stored again within this test's time can be taken for old.
        try:
            status = path.lstat()
            if status.st_atime < time.time() - 0.05:
                os.utime(path, (0, status.st_mtime))
        except FileNotFoundError:
            return

    collector = threading.Thread(target=collect_for_ever)
    collector.start()
    try:
        for _ in range(200):
            began = time.monotonic()
            again: StoredObject = await store.put_bytes(b"wanted")
            is_there = await store.exists(again.sha256)
            # After a pause of this process it may be old by the clock above, and go.
            assert is_there or time.monotonic() - began > 0.04
            await anyio.to_thread.run_sync(time.sleep, 0.001)
    finally:
        is_over.set()
        collector.join()


async def test_what_is_sent_again_while_a_bucket_is_collected_stays(
    api: LiveApi, tmp_path: Path
) -> None:
    workspace = (await api.client.get(".")).json()["id"]

    async def hold_them(digests: Iterable[str]) -> None:
        async with api.database.session() as session:
            await blobs.add(session, workspace, [StoredObject(digest, 3) for digest in digests])

    class Interfered(RemoteObjects):
        """While the first objects are removed, one of them is sent again, and all others are."""

        removed: tuple[str, ...] = ()

        def delete(self, digests: Sequence[str]) -> None:
            if not self.removed:
                self.removed = tuple(digests)
                with store.writer() as writer:
                    writer.write(contents[digests[0]])
                    writer.commit()
                others = set(contents) - set(digests)
                anyio.from_thread.run(hold_them, {digests[0], *others})
            super().delete(digests)

    remote = Interfered("memory://", {})
    store = ObjectStore(tmp_path / "other", remote)
    contents = {}
    for number in range(120):
        data = f"{number:03}".encode()
        contents[(await store.put_bytes(data)).sha256] = data
    await collect(api.database, store, unused_for_seconds=-5)
    assert 0 < len(remote.removed) < len(contents)
    kept = set(contents) - set(remote.removed[1:])
    assert set(await remote.sizes(contents)) == kept


async def test_a_first_token_is_made_beside_a_collection(api: LiveApi) -> None:
    async with api.database.session() as lasting, api.database.session() as session:
        assert await hold.may_collect(lasting)
        with anyio.fail_after(10):
            await create_first_token(session)


async def test_a_collection_that_takes_long_keeps_backups_waiting(api: LiveApi) -> None:
    # As in a worker, whose transactions are ended when they ask nothing for long.
    database = Database(api.settings, BrokerHints(api.settings, Signals()), idle_seconds=0.1)
    others = select(func.pg_try_advisory_xact_lock(hold.LOCK))
    try:
        async with database.session() as lasting:
            assert await hold.may_collect(lasting)
            await asyncio.sleep(0.5)
            async with api.database.session() as backup:
                assert not await backup.scalar(others)
        async with api.database.session() as backup:
            assert await backup.scalar(others)
    finally:
        await database.close()
