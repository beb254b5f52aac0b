"""Appending to logs, reading them, sealing them."""

import re
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.db import Database
from app.kernel.signals import Signals
from app.kernel.wake import signal
from app.logs import repository
from app.logs.errors import OffsetGap, StreamSealed
from app.logs.repository import MAX_CHUNK_BYTES, MERGED
from app.storage.objects import ObjectStore
from app.tables.log import LogChunk, LogStream

LOG_TOPIC = "log"
_POLL_SECONDS = 1.0
_FOLLOWED = re.compile(r"(nodes/\d+/)?logs/")


def is_merged(name: str) -> bool:
    """Whether a stream's bytes also stand in the merged log: files under ``logs/`` do not."""
    return _FOLLOWED.match(name) is None


async def append(
    session: AsyncSession,
    owner: str,
    name: str,
    data: bytes,
    *,
    attempt: int = 1,
    offset: int | None = None,
) -> int:
    """Append bytes to a stream; repeating a call with the same offset changes nothing.

    Args:
        session: the transaction; the bytes are safe once it has committed.
        owner: id of the run, image or deployment.
        name: the stream, e.g. ``user_logs/std_log.txt``.
        data: the bytes.
        attempt: the attempt they belong to.
        offset: where in the stream they start; None: at its end.

    Returns:
        The stream's length in bytes.

    Raises:
        OffsetGap: ``offset`` is beyond the end.
        StreamSealed: the stream was sealed.
    """
    stream = await repository.lock_stream(session, owner, attempt, name)
    length = stream.length_bytes
    if offset is not None:
        if offset > length:
            raise OffsetGap(length_bytes=length)
        data = data[length - offset :]
    if not data:
        return length
    if stream.sha256 is not None:
        raise StreamSealed(f"The log {name!r} is sealed at {length} bytes.")
    merged_offset = None
    if is_merged(name):
        await repository.lock_stream(session, owner, 0, MERGED)
        merged_offset = await repository.grow(session, owner, 0, MERGED, count=len(data))
    await repository.grow(session, owner, attempt, name, count=len(data))
    for start in range(0, len(data), MAX_CHUNK_BYTES):
        session.add(
            LogChunk(
                owner=owner,
                attempt=attempt,
                name=name,
                offset=length + start,
                merged_offset=None if merged_offset is None else merged_offset + start,
                data=data[start : start + MAX_CHUNK_BYTES],
            )
        )
    await session.flush()
    signal(session, LOG_TOPIC, owner)
    return length + len(data)


class LogReader:
    """Reads one stream of an owner, sealed or growing."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        *,
        owner: str,
        attempt: int = 0,
        name: str = MERGED,
    ) -> None:
        self._database = database
        self._objects = objects
        self._owner = owner
        self._attempt = 0 if name == MERGED else attempt
        self._name = name

    async def stream(self) -> LogStream | None:
        """The stream's row as it is now."""
        async with self._database.session() as session:
            return await repository.find_stream(session, self._owner, self._attempt, self._name)

    async def read(self, start: int, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield what is there now from byte ``start`` to before ``end``; no session is held."""
        position = start
        while end is None or position < end:
            stream = await self.stream()
            if stream is None or position >= stream.length_bytes:
                return
            if stream.sha256 is not None:
                pieces = await self._objects.open(stream.sha256, start=position, end=end)
                async for piece in pieces:
                    yield piece
                return
            async with self._database.session() as session:
                rows = await repository.read_chunks(
                    session, self._owner, self._attempt, self._name, start=position
                )
            if not rows:
                continue
            for offset, data in rows:
                piece = data[max(0, position - offset) :]
                if end is not None:
                    piece = piece[: end - position]
                if piece:
                    position += len(piece)
                    yield bytes(piece)

    async def follow(
        self, start: int, *, signals: Signals, keep_alive: bytes = b""
    ) -> AsyncIterator[bytes]:
        """Yield bytes from ``start`` as they come, until the stream is sealed and read.

        Args:
            start: first byte.
            signals: tells of new bytes; without one the stream is looked at once a second.
            keep_alive: sent when nothing came for a while, so that proxies keep the line open.
        """
        position = start
        silent_seconds = 0.0
        with signals.subscribe(LOG_TOPIC, self._owner) as subscription:
            while True:
                stream = await self.stream()
                is_sealed = stream is not None and stream.sha256 is not None
                before = position
                async for piece in self.read(position):
                    position += len(piece)
                    yield piece
                if is_sealed:
                    return
                silent_seconds = 0.0 if position > before else silent_seconds
                if not await subscription.wait(timeout_seconds=_POLL_SECONDS):
                    silent_seconds += _POLL_SECONDS
                    if keep_alive and silent_seconds >= 15:
                        silent_seconds = 0.0
                        yield keep_alive


Hashes = dict[tuple[int, str], str]
"""(attempt, stream name) → SHA-256 of the object that holds the stream's bytes."""


async def store_streams(database: Database, objects: ObjectStore, owner: str) -> Hashes:
    """Copy all streams of an owner into the object store; changes no row, may be repeated.

    Nothing may be appended any more when it is called: the caller has ended what writes.
    """
    async with database.session() as session:
        streams = list(await repository.list_streams(session, owner))
        if MERGED not in {stream.name for stream in streams}:
            streams.append(await repository.lock_stream(session, owner, 0, MERGED))
    hashes: Hashes = {}
    for stream in streams:
        key = (stream.attempt, stream.name)
        if stream.sha256 is not None:
            hashes[key] = stream.sha256
            continue
        reader = LogReader(database, objects, owner=owner, attempt=stream.attempt, name=stream.name)
        hashes[key] = (await objects.put(reader.read(0, stream.length_bytes))).sha256
    return hashes


async def mark_sealed(session: AsyncSession, owner: str, hashes: Hashes) -> list[LogStream]:
    """Seal all streams of an owner in this transaction: their followers end after its commit.

    Args:
        session: the transaction.
        owner: id of the run, build or deployment.
        hashes: from ``store_streams``.

    Returns:
        All streams, sealed.
    """
    sealed = list(await repository.list_streams(session, owner))
    for stream in sealed:
        stream.sha256 = hashes[(stream.attempt, stream.name)]
    await session.flush()
    await repository.delete_chunks(session, owner)
    signal(session, LOG_TOPIC, owner)
    return sealed


async def seal(database: Database, objects: ObjectStore, owner: str) -> list[LogStream]:
    """Store and seal all streams of an owner; may be repeated after a crash at any point."""
    hashes = await store_streams(database, objects, owner)
    async with database.session() as session:
        return await mark_sealed(session, owner, hashes)
