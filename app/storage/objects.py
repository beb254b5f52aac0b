"""A content-addressed store of bytes: every object lies under its own SHA-256.

Objects are written to `incoming/`, checked, sealed (read-only, a fixed modification time) and
renamed into place, so a reader sees a whole object or none, and a later change to one shows.
"""

import functools
import os
import re
import stat
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
import obstore
from obstore.store import LocalStore

from app.storage.errors import ObjectCorrupt, ObjectMissing, ObjectTooLarge
from app.storage.writer import CHUNK_BYTES, ObjectWriter, StoredObject, sha256_of

SEALED_MODE = 0o444
SEALED_AT_SECONDS = 946_684_800  # 2000-01-01: any write moves a file's time away from it
_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_sha256(text: str) -> bool:
    """Whether `text` is a SHA-256 as this store spells it: 64 lower-case hex digits."""
    return _DIGEST.fullmatch(text) is not None


class ObjectStore:
    """Objects in a local folder, shared safely by any number of processes.

    Args:
        root: the folder, made when absent.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        (self._root / "incoming").mkdir(parents=True, exist_ok=True)
        (self._root / "partial").mkdir(exist_ok=True)
        self._store = LocalStore(self._root)

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def writer(self, *, max_bytes: int | None = None) -> ObjectWriter:
        """Open a blocking writer, for use in a thread as a context manager.

        Leaving the block without `commit` throws the bytes away.
        """
        return ObjectWriter(self._store, root=self._root, seal=self._publish, max_bytes=max_bytes)

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
    async def spool(self, stream: AsyncIterator[bytes], *, max_bytes: int) -> AsyncIterator[Path]:
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
        if not await self.is_intact(sha256) and not await self.verify(sha256):
            raise ObjectCorrupt(f"object {sha256} was changed after it was stored")
        stop = size_bytes if end is None else min(end, size_bytes)
        return self._chunks(sha256, start, stop)

    async def exists(self, sha256: str) -> bool:
        """Whether the object is here and shows no sign of change."""
        return await self.is_intact(sha256)

    async def missing(self, digests: Iterable[str]) -> list[str]:
        """Return those of `digests` that are not here intact, in their order, each once."""
        wanted = list(dict.fromkeys(digests))

        def absent() -> list[str]:
            return [digest for digest in wanted if not self._is_sealed(self._path(digest))]

        return await anyio.to_thread.run_sync(absent)

    async def size(self, sha256: str) -> int:
        """Return the size in bytes.

        Raises:
            ObjectMissing: there is no such object.
        """
        try:
            return (await obstore.head_async(self._store, _key(sha256)))["size"]
        except FileNotFoundError:
            raise ObjectMissing(f"object {sha256} is not in the store") from None

    async def is_intact(self, sha256: str) -> bool:
        """Whether the object lies here as it was sealed: cheap, reads no content."""
        return await anyio.to_thread.run_sync(self._is_sealed, self._path(sha256))

    async def verify(self, sha256: str) -> bool:
        """Hash the object again, and seal it again when it is right.

        A wrong one stays, unused, until the right bytes are put again: removing it here could
        remove the right ones that another process has just put in its place.
        """
        return await anyio.to_thread.run_sync(self._verify, sha256)

    def local_path(self, sha256: str) -> Path | None:
        """Return the object's file for read-only use on this machine, None when not intact."""
        path = self._path(sha256)
        return path if self._is_sealed(path) else None

    def clean_incoming(self, *, older_than_seconds: float) -> int:
        """Remove what crashed writers left, untouched for that long; return how many files."""
        removed = 0
        limit = time.time() - older_than_seconds
        for entry in (self._root / "incoming").iterdir():
            try:
                if entry.lstat().st_mtime < limit:
                    entry.unlink()
                    removed += 1
            except FileNotFoundError:
                continue
        return removed

    def _path(self, sha256: str) -> Path:
        return self._root / _key(sha256)

    def _is_sealed(self, path: Path) -> bool:
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (
            stat.S_ISREG(status.st_mode)
            and stat.S_IMODE(status.st_mode) == SEALED_MODE
            and status.st_mtime_ns == SEALED_AT_SECONDS * 1_000_000_000
        )

    def _publish(self, incoming: Path, sha256: str) -> None:
        """Seal a finished incoming file and move it to its digest, atomically."""
        target = self._path(sha256)
        if self._is_sealed(target) and target.lstat().st_size == incoming.lstat().st_size:
            with suppress(FileNotFoundError):  # taken away as unused at this very moment
                os.utime(target, (time.time(), SEALED_AT_SECONDS))
                incoming.unlink()
                return
        _seal(incoming)
        target.parent.mkdir(parents=True, exist_ok=True)
        source = incoming.relative_to(self._root).as_posix()
        obstore.rename(self._store, source, _key(sha256))
        _sync_folder(target.parent)

    def _copy_in(self, path: Path, expected_sha256: str | None) -> StoredObject:
        with self.writer() as writer, path.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                writer.write(chunk)
            return writer.commit(expected_sha256=expected_sha256)

    def _verify(self, sha256: str) -> bool:
        path = self._path(sha256)
        try:
            is_regular = stat.S_ISREG(path.lstat().st_mode)
            if is_regular and sha256_of(path) == sha256:
                _seal(path)
                return True
        except FileNotFoundError:
            return False
        return False

    async def _chunks(self, sha256: str, start: int, stop: int) -> AsyncIterator[bytes]:
        if start >= stop:
            return
        result = await obstore.get_async(
            self._store, _key(sha256), options={"range": (start, stop)}
        )
        async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)


async def _write_all(path: Path, stream: AsyncIterator[bytes], *, max_bytes: int) -> None:
    received_bytes = 0
    async with await anyio.open_file(path, "xb") as target:
        async for chunk in stream:
            received_bytes += len(chunk)
            if received_bytes > max_bytes:
                raise ObjectTooLarge(max_bytes=max_bytes)
            await target.write(chunk)


def _key(sha256: str) -> str:
    if not is_sha256(sha256):
        raise ObjectMissing("not a SHA-256 in lower-case hex digits")
    return f"sha256/{sha256[:2]}/{sha256}"


def _seal(path: Path) -> None:
    """Flush, make read-only and pin the time; flushed first, so a power cut leaves no husk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
        os.fchmod(descriptor, SEALED_MODE)
        # The time of access is ours to set: when the bytes were last stored.
        os.utime(descriptor, (time.time(), SEALED_AT_SECONDS))
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
