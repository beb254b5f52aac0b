"""Sealing: what has grown becomes objects that never change."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.db import Database
from app.kernel.wake import signal
from app.logs import repository
from app.logs.errors import StreamGrew
from app.logs.repository import MERGED
from app.logs.service import LOG_TOPIC, LogReader
from app.storage.objects import ObjectStore
from app.tables.log import LogStream


class Sealed(NamedTuple):
    """The objects that hold a stream: its bytes, and when they were written."""

    sha256: str
    times_sha256: str | None
    first_byte: int
    length_bytes: int


Hashes = dict[tuple[int, str], Sealed]
"""By attempt and name of the stream."""


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
            hashes[key] = Sealed(
                stream.sha256, stream.times_sha256, stream.first_byte, stream.length_bytes
            )
            continue
        reader = LogReader(database, objects, owner=owner, attempt=stream.attempt, name=stream.name)
        stored = await objects.put(reader.read(stream.first_byte, stream.length_bytes))
        times = None
        if stream.name != MERGED and stored.size_bytes:
            times = (await objects.put(_times(database, stream))).sha256
        first = stream.first_byte
        hashes[key] = Sealed(stored.sha256, times, first, first + stored.size_bytes)
    return hashes


async def mark_sealed(session: AsyncSession, owner: str, hashes: Hashes) -> list[LogStream]:
    """Seal all streams of an owner in this transaction: their followers end after its commit.

    Args:
        session: the transaction.
        owner: id of the run, build or deployment.
        hashes: from ``store_streams``.

    Returns:
        All streams, sealed.

    Raises:
        StreamGrew: bytes came or went in between, so that the objects hold others: store again.
    """
    sealed = list(await repository.list_streams(session, owner, for_update=True))
    for stream in sealed:
        stored = hashes.get((stream.attempt, stream.name))
        if stored is None or stored[2:] != (stream.first_byte, stream.length_bytes):
            raise StreamGrew(f"The log {stream.name!r} of {owner} grew while it was sealed.")
        stream.sha256, stream.times_sha256 = stored.sha256, stored.times_sha256
    await session.flush()
    await repository.delete_chunks(session, owner)
    signal(session, LOG_TOPIC, owner)
    return sealed


async def seal(database: Database, objects: ObjectStore, owner: str) -> list[LogStream]:
    """Store and seal all streams of an owner; may be repeated after a crash at any point."""
    hashes = await store_streams(database, objects, owner)
    async with database.session() as session:
        return await mark_sealed(session, owner, hashes)


async def _times(database: Database, stream: LogStream) -> AsyncIterator[bytes]:
    """The pairs of a stream as one object: chunk after chunk, as they were appended."""
    after = -1
    while True:
        async with database.session() as session:
            rows = await repository.read_times(
                session, stream.owner, stream.attempt, stream.name, after=after
            )
        if not rows:
            return
        for offset, times in rows:
            after = offset
            if times is not None:
                yield times
