"""With a bucket behind it the object store is the same store, on whatever machine."""

import hashlib
import json
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.garbage.service import collect, shrink_cache
from app.storage.errors import ObjectMissing, StoreUnavailable
from app.storage.keys import object_key
from app.storage.objects import ObjectStore
from app.storage.remote import RemoteObjects
from tests.live_api import live_api
from tests.storage.buckets import BucketServer, bucket_server, upload_to_emulator

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(900)]
LARGE = random.Random(12).randbytes(12_000_000)


@pytest.fixture(scope="module", params=["s3", "azure", "gcs"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BucketServer]:
    with bucket_server(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture
def remote(server: BucketServer) -> RemoteObjects:
    return RemoteObjects(server.url, server.options)


async def read(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def test_what_one_machine_stores_another_reads(remote: RemoteObjects, tmp_path: Path) -> None:
    here, there = ObjectStore(tmp_path / "a", remote), ObjectStore(tmp_path / "b", remote)
    stored = await here.put_bytes(LARGE)
    assert await there.exists(stored.sha256)
    assert await there.size(stored.sha256) == len(LARGE)
    assert there.local_path(stored.sha256) is None
    assert (
        await read(await there.open(stored.sha256, start=5_000_000, end=5_000_100))
        == (LARGE[5_000_000:5_000_100])
    )
    assert await read(await there.open(stored.sha256)) == LARGE
    path = await there.fetch(stored.sha256)
    assert path is not None
    assert hashlib.sha256(path.read_bytes()).hexdigest() == stored.sha256
    assert there.local_path(stored.sha256) == path


async def test_the_empty_object(remote: RemoteObjects, tmp_path: Path) -> None:
    stored = await ObjectStore(tmp_path / "a", remote).put_bytes(b"")
    there = ObjectStore(tmp_path / "b", remote)
    assert await read(await there.open(stored.sha256)) == b""
    assert await there.size(stored.sha256) == 0


async def test_what_is_nowhere_is_missing(remote: RemoteObjects, tmp_path: Path) -> None:
    store = ObjectStore(tmp_path, remote)
    stored = await store.put_bytes(b"here")
    absent = "0" * 64
    assert await store.missing([absent, stored.sha256]) == [absent]
    assert await store.fetch(absent) is None
    with pytest.raises(ObjectMissing):
        await store.open(absent)
    with pytest.raises(ObjectMissing):
        await store.size(absent)


async def test_a_damaged_local_copy_is_replaced_from_the_bucket(
    remote: RemoteObjects, tmp_path: Path
) -> None:
    store = ObjectStore(tmp_path, remote)
    stored = await store.put_bytes(b"precious")
    path = store.local_path(stored.sha256)
    assert path is not None
    path.chmod(0o644)
    path.write_bytes(b"garbage!")
    assert await read(await store.open(stored.sha256)) == b"precious"
    assert await store.verify(stored.sha256)
    assert path.read_bytes() == b"precious"


async def test_wrong_bytes_in_the_bucket_never_reach_the_folder(
    remote: RemoteObjects, tmp_path: Path
) -> None:
    wrong, claimed = tmp_path / "wrong", hashlib.sha256(b"right").hexdigest()
    wrong.write_bytes(b"wrong")
    remote.store(wrong, claimed)
    store = ObjectStore(tmp_path / "objects", remote)
    assert await store.fetch(claimed) is None
    assert store.local_path(claimed) is None


async def test_a_bucket_without_access_says_so(server: BucketServer, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        RemoteObjects(server.url, {"no such option": "x"})
    nobody = {
        "endpoint": "http://127.0.0.1:9",
        "allow_http": "true",
        "region": "nowhere",
        "access_key_id": "a",
        "secret_access_key": "b",
    }
    store = ObjectStore(tmp_path, RemoteObjects("s3://nothing", nobody))
    with pytest.raises(StoreUnavailable) as refusal:
        await store.put_bytes(b"nowhere")
    assert "\n" not in refusal.value.message
    assert not list((tmp_path / "incoming").iterdir())
    with pytest.raises(StoreUnavailable):
        await store.exists(hashlib.sha256(b"nowhere").hexdigest())


@pytest.mark.fault(48)
async def test_an_api_whose_bucket_goes_away_says_so_and_goes_on_when_it_is_back(
    server: BucketServer, tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    options = tmp_path / "options.json"
    options.write_text(json.dumps(dict(server.options)))
    data = server.url.encode()
    path = f"blobs/{hashlib.sha256(data).hexdigest()}"
    settings: dict[str, Any] = {
        "object_store_url": server.url,
        "object_store_options_file": options,
    }
    async with live_api(tmp_path / "a", postgres_url, broker_url, **settings) as api:
        server.stop()
        answer = await api.client.put(path, content=data)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        ready = await api.client.get("http://api/readyz")
        assert ready.status_code == 503
        for told in (answer, ready):
            assert "out of reach" in told.text
            assert str(server.port) not in told.text
        assert (await api.client.get(path)).status_code == 404
        server.start()
        assert (await api.client.put(path, content=data)).status_code == 201
        local = api.objects.local_path(hashlib.sha256(data).hexdigest())
        assert local is not None
        local.unlink()  # as on another machine
        assert (await api.client.get(path)).content == data


async def test_what_nothing_refers_to_leaves_the_bucket_and_the_cache_keeps_its_size(
    remote: RemoteObjects, tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with live_api(tmp_path / "a", postgres_url, broker_url) as api:
        held = hashlib.sha256(b"held by a workspace").hexdigest()
        await api.client.put(f"blobs/{held}", content=b"held by a workspace")
        file = {"path": "model.bin", "sha256": held, "size_bytes": len(b"held by a workspace")}
        await api.client.post("models/net/versions", json={"files": [file]})
        store = ObjectStore(tmp_path / "b", remote)
        await store.put_bytes(b"held by a workspace")
        loose = (await store.put_bytes(b"held by nobody")).sha256
        await collect(api.database, store, unused_for_seconds=3600)
        assert await store.missing([held, loose]) == []  # too young
        await collect(api.database, store, unused_for_seconds=-5)
        assert await remote.sizes([held, loose]) == {held: len(b"held by a workspace")}
    local = store.local_path(held)
    assert local is not None
    assert await shrink_cache(store, max_bytes=0) == 0  # read a moment ago
    os.utime(local, (0, local.stat().st_mtime))
    assert await shrink_cache(store, max_bytes=0) == len(b"held by a workspace")
    assert store.local_path(held) is None
    assert await read(await store.open(held)) == b"held by a workspace"


async def test_what_google_s_emulator_holds_is_read_found_unused_and_freed(tmp_path: Path) -> None:
    digest = hashlib.sha256(LARGE).hexdigest()
    with bucket_server("gcs_emulator", tmp_path / "server") as server:
        upload_to_emulator(server, f"some/prefix/{object_key(digest)}", LARGE)
        remote = RemoteObjects(server.url, server.options)
        store = ObjectStore(tmp_path / "objects", remote)
        assert await store.missing([digest, "0" * 64]) == ["0" * 64]
        assert (
            await read(await store.open(digest, start=7_000_000, end=7_000_009))
            == (LARGE[7_000_000:7_000_009])
        )
        path = await store.fetch(digest)
        assert path is not None
        assert path.read_bytes() == LARGE
        assert list(remote.batches(size=10, unused_for_seconds=3600)) == [[]]
        assert list(remote.batches(size=10, unused_for_seconds=-5)) == [[digest]]
        remote.delete([digest])
        remote.delete([digest])
        assert await remote.sizes([digest]) == {}
