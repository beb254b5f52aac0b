"""The object store keeps exactly what was put, whole, and notices changes."""

import hashlib
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.storage.errors import DigestMismatch, ObjectCorrupt, ObjectMissing, ObjectTooLarge
from app.storage.objects import ObjectStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "objects")


async def stream_of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def read(store: ObjectStore, sha256: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in await store.open(sha256, start=start, end=end)])


def incoming(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "objects" / "incoming").iterdir())


async def test_put_returns_digest_and_size_and_open_gives_the_bytes_back(
    store: ObjectStore, tmp_path: Path
) -> None:
    data = os.urandom(3_500_000)
    stored = await store.put(stream_of(data[:10], data[10:2_000_000], data[2_000_000:]))
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert stored.size_bytes == len(data)
    assert await read(store, stored.sha256) == data
    assert await store.size(stored.sha256) == len(data)
    assert not incoming(tmp_path)


async def test_the_empty_object_is_an_object(store: ObjectStore) -> None:
    stored = await store.put(stream_of())
    assert stored.size_bytes == 0
    assert await read(store, stored.sha256) == b""


@given(start=st.integers(0, 40), end=st.none() | st.integers(0, 60))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_ranges_are_those_of_a_slice(tmp_path: Path, start: int, end: int | None) -> None:
    data = bytes(range(37))

    async def check() -> None:
        store = ObjectStore(tmp_path / "objects")
        stored = await store.put_bytes(data)
        assert await read(store, stored.sha256, start, end) == data[start:end]

    anyio.run(check)


async def test_wrong_digest_keeps_nothing(store: ObjectStore, tmp_path: Path) -> None:
    right = hashlib.sha256(b"hello").hexdigest()
    wrong = "0" * 64
    with pytest.raises(DigestMismatch) as caught:
        await store.put(stream_of(b"hello"), expected_sha256=wrong)
    assert caught.value.found_sha256 == right
    assert not await store.exists(wrong)
    assert not await store.exists(right)
    assert not incoming(tmp_path)


async def test_too_large_keeps_nothing(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(ObjectTooLarge):
        await store.put(stream_of(b"x" * 3_000_000, b"y" * 3_000_000), max_bytes=5_000_000)
    assert not incoming(tmp_path)


@pytest.mark.fault(49)
async def test_a_stream_that_breaks_keeps_nothing(store: ObjectStore, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 3_000_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.put(broken())
    assert not incoming(tmp_path)


async def test_objects_are_read_only_and_a_change_is_noticed(store: ObjectStore) -> None:
    stored = await store.put_bytes(b"pinned")
    path = store.local_path(stored.sha256)
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o444
    path.chmod(0o644)
    path.write_bytes(b"altered")
    assert not await store.exists(stored.sha256)
    assert store.local_path(stored.sha256) is None
    assert await store.missing([stored.sha256]) == [stored.sha256]
    with pytest.raises(ObjectCorrupt):
        await store.open(stored.sha256)
    await store.put_bytes(b"pinned")
    assert await read(store, stored.sha256) == b"pinned"


async def test_putting_again_heals_a_changed_object(store: ObjectStore) -> None:
    stored = await store.put_bytes(b"pinned")
    path = store.local_path(stored.sha256)
    assert path is not None
    path.chmod(0o644)
    path.write_bytes(b"forged")
    await store.put_bytes(b"pinned")
    assert await store.exists(stored.sha256)
    assert await read(store, stored.sha256) == b"pinned"


async def test_an_object_that_was_only_touched_is_sealed_again(store: ObjectStore) -> None:
    stored = await store.put_bytes(b"pinned")
    path = store.local_path(stored.sha256)
    assert path is not None
    path.touch()
    assert not await store.exists(stored.sha256)
    assert await read(store, stored.sha256) == b"pinned"
    assert await store.exists(stored.sha256)


async def test_an_object_replaced_by_a_link_is_not_followed(
    store: ObjectStore, tmp_path: Path
) -> None:
    stored = await store.put_bytes(b"pinned")
    path = store.local_path(stored.sha256)
    assert path is not None
    path.unlink()
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    path.symlink_to(secret)
    assert store.local_path(stored.sha256) is None
    with pytest.raises((ObjectCorrupt, ObjectMissing)):
        await store.open(stored.sha256)
    assert secret.read_bytes() == b"secret"


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
async def test_anything_but_a_digest_is_missing(store: ObjectStore, digest: str) -> None:
    with pytest.raises(ObjectMissing):
        await store.open(digest)


async def test_many_writers_of_one_object_agree(store: ObjectStore, tmp_path: Path) -> None:
    data = os.urandom(200_000)
    digests: list[str] = []

    def write() -> None:
        own = ObjectStore(tmp_path / "objects")
        with own.writer() as writer:
            writer.write(data)
            digests.append(writer.commit().sha256)

    threads = [threading.Thread(target=write) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert digests == [hashlib.sha256(data).hexdigest()] * 12
    assert await read(store, digests[0]) == data
    assert not incoming(tmp_path)


async def test_clean_incoming_removes_only_what_was_abandoned(
    store: ObjectStore, tmp_path: Path
) -> None:
    old = tmp_path / "objects" / "incoming" / "dead#1"
    old.write_bytes(b"left by a crash")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    with store.writer() as writer:
        writer.write(b"x" * 3_000_000)
        assert store.clean_incoming(older_than_seconds=3600) == 1
        stored = writer.commit()
    assert not old.exists()
    assert await store.size(stored.sha256) == 3_000_000


async def test_put_path_copies(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    stored = await store.put_path(source)
    source.write_bytes(b"changed")
    assert await read(store, stored.sha256) == b"from a file"
