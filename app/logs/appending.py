"""Appending to a stream: one statement where all is as expected, with locks where it is not."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.direct import DirectPool, Statement
from app.logs import repository
from app.logs.errors import LogFull, OffsetGap, StreamSealed
from app.logs.repository import MAX_CHUNK_BYTES, MERGED
from app.logs.times import Pair, between, packed
from app.tables.log import LogChunk, LogStream

# The stream's row is locked first and the merged one after it, as everywhere; it grows only once
# the merged one has, which may be sealed by then.
_ROOM = """(CAST(:most AS bigint) IS NULL OR CAST(:most AS bigint) >= CAST(:count AS bigint)
        + (SELECT sum(length_bytes) FROM log_streams WHERE owner = :owner AND name <> ''))"""
_MERGED = text(
    """
WITH mine AS (
    SELECT FROM log_streams
    WHERE owner = :owner AND attempt = :attempt AND name = :name
        AND length_bytes = :start AND sha256 IS NULL AND {room}
    FOR UPDATE
), merged AS (
    UPDATE log_streams SET length_bytes = length_bytes + :count
    WHERE owner = :owner AND attempt = 0 AND name = '' AND sha256 IS NULL
        AND EXISTS (SELECT FROM mine)
    RETURNING length_bytes - :count AS place
), grown AS (
    UPDATE log_streams SET length_bytes = length_bytes + :count
    WHERE owner = :owner AND attempt = :attempt AND name = :name AND EXISTS (SELECT FROM merged)
)
INSERT INTO log_chunks (owner, attempt, name, "offset", merged_offset, data, times)
SELECT :owner, :attempt, :name, :start, place, CAST(:data AS bytea), CAST(:times AS bytea)
FROM merged
RETURNING merged_offset
""".replace("{room}", _ROOM)
)
_ALONE = text(
    """
WITH mine AS (
    UPDATE log_streams SET length_bytes = length_bytes + :count
    WHERE owner = :owner AND attempt = :attempt AND name = :name
        AND length_bytes = :start AND sha256 IS NULL AND {room}
    RETURNING length_bytes
)
INSERT INTO log_chunks (owner, attempt, name, "offset", data, times)
SELECT :owner, :attempt, :name, :start, CAST(:data AS bytea), CAST(:times AS bytea) FROM mine
RETURNING "offset"
""".replace("{room}", _ROOM)
)

_MERGED_DIRECTLY = Statement(_MERGED)
_ALONE_DIRECTLY = Statement(_ALONE)


class Place(NamedTuple):
    """A stream.

    Attributes:
        owner: id of the run, image or deployment.
        attempt: of the owner.
        name: of the stream.
        is_merged: whether its bytes stand in the merged log as well.
        node_index: which node writes it; None: the control plane does.
        most_bytes: how long all streams of the owner may be together; None: as long as they like.
    """

    owner: str
    attempt: int
    name: str
    is_merged: bool
    node_index: int | None = None
    most_bytes: int | None = None


async def append_expected(
    session: AsyncSession, place: Place, data: bytes, pairs: Sequence[Pair], *, start: int
) -> bool:
    """Append bytes to a stream that is ``start`` bytes long and open, in one round trip.

    Returns:
        False when the stream is not so, or new: nothing was changed.
    """
    if len(data) > MAX_CHUNK_BYTES:
        return False
    statement = _MERGED if place.is_merged else _ALONE
    result = await session.execute(statement, _given(place, data, pairs, start))
    return result.first() is not None


async def append_directly(
    direct: DirectPool, place: Place, data: bytes, pairs: Sequence[Pair], *, start: int
) -> bool:
    """The same as a transaction of its own."""
    if len(data) > MAX_CHUNK_BYTES:
        return False
    statement = _MERGED_DIRECTLY if place.is_merged else _ALONE_DIRECTLY
    return await direct.row(statement, **_given(place, data, pairs, start)) is not None


def _given(place: Place, data: bytes, pairs: Sequence[Pair], start: int) -> dict[str, Any]:
    return {
        "owner": place.owner,
        "attempt": place.attempt,
        "name": place.name,
        "start": start,
        "count": len(data),
        "data": data,
        "times": packed(pairs),
        "most": place.most_bytes,
    }


async def lock(session: AsyncSession, place: Place) -> LogStream:
    """The stream's row, made if there is none, locked until the transaction ends."""
    stream = await repository.lock_stream(session, place.owner, place.attempt, place.name)
    if stream.node_index is None and place.node_index is not None:
        stream.node_index = place.node_index
    return stream


async def append_locked(
    session: AsyncSession, stream: LogStream, place: Place, data: bytes, pairs: Sequence[Pair]
) -> None:
    """Append bytes at the end of a stream that this transaction has locked.

    Raises:
        StreamSealed: the stream was sealed, or all of the log was before this stream came.
        LogFull: all streams of the owner together would be too long.
    """
    length = stream.length_bytes
    if stream.sha256 is not None:
        raise StreamSealed(f"The log {place.name!r} is sealed at {length} bytes.")
    if place.most_bytes is not None:
        held_bytes = await repository.total_bytes(session, place.owner)
        if held_bytes + len(data) > place.most_bytes:
            raise LogFull(place.most_bytes)
    merged_offset = None
    if place.is_merged:
        merged = await repository.lock_stream(session, place.owner, 0, MERGED)
        if merged.sha256 is not None:
            raise StreamSealed(f"The log is sealed: {place.name!r} comes too late.")
        merged_offset = await repository.grow(session, place.owner, 0, MERGED, count=len(data))
    await repository.grow(session, place.owner, place.attempt, place.name, count=len(data))
    for start in range(0, len(data), MAX_CHUNK_BYTES):
        piece = data[start : start + MAX_CHUNK_BYTES]
        first = length + start
        values = {
            "owner": place.owner,
            "attempt": place.attempt,
            "name": place.name,
            "offset": first,
            "merged_offset": None if merged_offset is None else merged_offset + start,
            "data": piece,
            "times": packed(between(pairs, first, first + len(piece))),
        }
        await session.execute(insert(LogChunk).values(values))


def fresh(stream: LogStream, data: bytes, offset: int | None) -> bytes:
    """Those of the bytes that the stream does not have yet.

    Raises:
        OffsetGap: ``offset`` is beyond the end.
    """
    if offset is None:
        return data
    if offset > stream.length_bytes:
        raise OffsetGap(length_bytes=stream.length_bytes)
    return data[stream.length_bytes - offset :]
