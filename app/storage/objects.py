"""A content-addressed store of bytes: every object lies under its own SHA-256.

Objects are written to `incoming/`, checked, sealed (read-only, a fixed modification time) and
renamed into place, so a reader sees a whole object or none, and a later change to one shows.
"""

import functools
import os
import stat
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread

from app.kernel.crash_points import CrashPoint, reached
from app.storage.errors import DigestMismatch, ObjectCorrupt, ObjectMissing, ObjectTooLarge
from app.storage.keys import object_key
from app.storage.remote import RemoteObjects
from app.storage.sealing import SEALED_AT_SECONDS, is_sealed, seal, sync_folder
from app.storage.writer import CHUNK_BYTES, ObjectWriter, StoredObject, sha256_of


class ObjectStore:
    """Objects in a local folder, shared safely by any number of processes.

    With a bucket behind it the folder is a cache: what is stored is in the bucket before anybody
    is told so, and what the folder lacks comes from there.

    Args:
        root: the folder, made when absent.
        remote: the bucket, if there is one.
    """

    def __init__(self, root: Path, remote: RemoteObjects | None = None) -> None:
        self.remote = remote
        self._root = root.absolute()
        (self._root / "incoming").mkdir(parents=True, exist_ok=True)
        (self._root / "partial").mkdir(exist_ok=True)

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def writer(self, *, max_bytes: int | None = None) -> ObjectWriter:
        """Open a blocking writer, for use in a thread as a context manager.

        Leaving the block without `commit` throws the bytes away.
        """
        return ObjectWriter(self._root / "incoming", seal=self._publish, max_bytes=max_bytes)

    async def put(
        self,
        stream: AsyncIterator[bytes],
        *,
        max_bytes: int | None = None,
        expected_sha256: str | None = None,
    ) -> StoredObject:
        """Store what `stream` yields and return its digest and size.

        Raises:
            ObjectTooLarge: more than `max_bytes` arrived; nothing was kept.
            DigestMismatch: the bytes are not those of `expected_sha256`; nothing was kept.
        """
        writer = self.writer(max_bytes=max_bytes)
        pending = bytearray()
        try:
            async for chunk in stream:
                pending += chunk
                if len(pending) >= CHUNK_BYTES:
                    await anyio.to_thread.run_sync(writer.write, bytes(pending))
                    pending.clear()
            if pending:
                await anyio.to_thread.run_sync(writer.write, bytes(pending))
            commit = functools.partial(writer.commit, expected_sha256=expected_sha256)
            return await anyio.to_thread.run_sync(commit)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(writer.discard)

    async def put_bytes(self, data: bytes, *, expected_sha256: str | None = None) -> StoredObject:
        """Store bytes that are already in memory."""

        async def once() -> AsyncIterator[bytes]:
            yield data

        return await self.put(once(), expected_sha256=expected_sha256)

    @asynccontextmanager
    async def spool(
        self, stream: AsyncIterator[bytes], *, max_bytes: int | None
    ) -> AsyncIterator[Path]:
        """Keep a stream as a file for the length of the block, to read it more than once.

        Raises:
            ObjectTooLarge: more than `max_bytes` arrived.
        """
        path = self._root / "incoming" / f"spool-{uuid.uuid4().hex}"
        try:
            await _write_all(path, stream, max_bytes=max_bytes)
            yield path
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(functools.partial(path.unlink, missing_ok=True))

    async def put_path(self, path: Path, *, expected_sha256: str | None = None) -> StoredObject:
        """Store a copy of the file at `path`."""
        return await anyio.to_thread.run_sync(self._copy_in, path, expected_sha256)

    def partial_path(self, name: str) -> Path:
        """Where a file lies that grows piece by piece, until it is adopted or removed."""
        return self._root / "partial" / name

    def adopt(self, path: Path, sha256: str) -> None:
        """Make the finished partial file at `path` the object `sha256`, which its bytes have.

        Blocking. The file is gone afterwards.
        """
        self._publish(path, sha256)

    async def open(
        self, sha256: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """Return an iterator over the bytes from `start` up to, not including, `end`.

        Raises:
            ObjectMissing: there is no such object.
            ObjectCorrupt: it was changed after it was stored.
        """
        size_bytes = await self.size(sha256)
        stop = size_bytes if end is None else min(end, size_bytes)
        is_nothing = start >= stop
        if is_nothing or await self._is_here(sha256) or await self._verified(sha256):
            return self._chunks(sha256, start, stop)
        if self.remote is None:
            raise ObjectCorrupt(f"object {sha256} was changed after it was stored")
        return await self.remote.open(sha256, start, stop)

    async def exists(self, sha256: str) -> bool:
        """Whether the object is here, or in the bucket, and shows no sign of change."""
        return not await self.missing([sha256])

    async def missing(self, digests: Iterable[str]) -> list[str]:
        """Return those of `digests` that are nowhere intact, in their order, each once."""
        wanted = list(dict.fromkeys(digests))

        def absent() -> list[str]:
            return [digest for digest in wanted if not is_sealed(self._path(digest))]

        lacking = await anyio.to_thread.run_sync(absent)
        if self.remote is None or not lacking:
            return lacking
        kept = await self.remote.sizes(lacking)
        return [digest for digest in lacking if digest not in kept]

    async def size(self, sha256: str) -> int:
        """Return the size in bytes.

        Raises:
            ObjectMissing: there is no such object.
        """
        try:
            return (await anyio.to_thread.run_sync(self._path(sha256).stat)).st_size
        except FileNotFoundError:
            kept = {} if self.remote is None else await self.remote.sizes([sha256])
        if sha256 not in kept:
            raise ObjectMissing(f"object {sha256} is not in the store")
        return kept[sha256]

    async def verify(self, sha256: str) -> bool:
        """Hash the object again, and seal it again when it is right.

        A wrong one stays, unused, until the right bytes are put again: removing it here could
        remove the right ones that another process has just put in its place.
        """
        return await self._verified(sha256) or await self.fetch(sha256) is not None

    async def fetch(self, sha256: str) -> Path | None:
        """The object's file for read-only use on this machine, fetched from the bucket if need be.

        None: it is nowhere intact.
        """
        if await self._is_here(sha256):
            return self._path(sha256)
        if self.remote is None:
            return None
        return await anyio.to_thread.run_sync(self._fetch, sha256, self.remote)

    def local_path(self, sha256: str) -> Path | None:
        """Return the object's file for read-only use on this machine, None when not intact."""
        path = self._path(sha256)
        return path if is_sealed(path) else None

    def probe(self) -> None:
        """Write a few bytes where objects are written, and take them away again; blocks.

        Raises:
            OSError: the folder cannot be written to.
            StoreUnavailable: the bucket cannot.
        """
        path = self._root / "incoming" / f"probe-{uuid.uuid4().hex}"
        try:
            path.write_bytes(b"probe")
        finally:
            path.unlink(missing_ok=True)
        if self.remote is not None:
            self.remote.probe()

    def old_partial_names(self, *, older_than_seconds: float) -> list[str]:
        """Names of the partial files that were untouched for that long; blocking."""
        return [path.name for path in _old(self._root / "partial", older_than_seconds)]

    def clean_incoming(self, *, older_than_seconds: float) -> int:
        """Remove what crashed writers left, untouched for that long; return how many files."""
        removed = 0
        for entry in _old(self._root / "incoming", older_than_seconds):
            with suppress(FileNotFoundError):
                entry.unlink()
                removed += 1
        return removed

    def _path(self, sha256: str) -> Path:
        return self._root / object_key(sha256)

    def _publish(self, incoming: Path, sha256: str) -> None:
        """Seal a finished incoming file and move it to its digest, atomically."""
        if self.remote is not None:
            self.remote.store(incoming, sha256)
        self._place(incoming, sha256)

    def _place(self, incoming: Path, sha256: str) -> None:
        target = self._path(sha256)
        if is_sealed(target) and target.lstat().st_size == incoming.lstat().st_size:
            with suppress(FileNotFoundError):  # taken away as unused at this very moment
                os.utime(target, (time.time(), SEALED_AT_SECONDS))
                incoming.unlink()
                return
        seal(incoming)
        target.parent.mkdir(parents=True, exist_ok=True)
        reached(CrashPoint.OBJECT_WRITTEN)
        incoming.rename(target)
        reached(CrashPoint.OBJECT_PLACED)
        sync_folder(target.parent)

    def _copy_in(self, path: Path, expected_sha256: str | None) -> StoredObject:
        with self.writer() as writer, path.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                writer.write(chunk)
            return writer.commit(expected_sha256=expected_sha256)

    def _fetch(self, sha256: str, remote: RemoteObjects) -> Path | None:
        writer = ObjectWriter(self._root / "incoming", seal=self._place, max_bytes=None)
        with writer:
            try:
                for chunk in remote.fetch(sha256):
                    writer.write(chunk)
                writer.commit(expected_sha256=sha256)
            except (ObjectMissing, DigestMismatch):
                return None
        return self._path(sha256)

    async def _is_here(self, sha256: str) -> bool:
        return await anyio.to_thread.run_sync(is_sealed, self._path(sha256))

    async def _verified(self, sha256: str) -> bool:
        return await anyio.to_thread.run_sync(self._verify, sha256)

    def _verify(self, sha256: str) -> bool:
        path = self._path(sha256)
        try:
            is_regular = stat.S_ISREG(path.lstat().st_mode)
            if is_regular and sha256_of(path) == sha256:
                seal(path)
                return True
        except FileNotFoundError:
            return False
        return False

    async def _chunks(self, sha256: str, start: int, stop: int) -> AsyncIterator[bytes]:
        if start >= stop:
            return
        async with await anyio.open_file(self._path(sha256), "rb") as source:
            await source.seek(start)
            left_bytes = stop - start
            while left_bytes > 0 and (chunk := await source.read(min(CHUNK_BYTES, left_bytes))):
                left_bytes -= len(chunk)
                yield chunk


async def _write_all(path: Path, stream: AsyncIterator[bytes], *, max_bytes: int | None) -> None:
    received_bytes = 0
    async with await anyio.open_file(path, "xb") as target:
        async for chunk in stream:
            received_bytes += len(chunk)
            if max_bytes is not None and received_bytes > max_bytes:
                raise ObjectTooLarge(max_bytes=max_bytes)
            await target.write(chunk)


def _old(folder: Path, seconds: float) -> Iterator[Path]:
    limit = time.time() - seconds
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):
            status = entry.lstat()
            # What is just being sealed has a time of long ago.
            is_sealed_now = status.st_mtime == SEALED_AT_SECONDS
            if (status.st_ctime if is_sealed_now else status.st_mtime) < limit:
                yield entry
