"""Queries about log streams and their chunks."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.kernel.direct import DirectPool, Statement
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.log import LogChunk, LogStream

MAX_CHUNK_BYTES = 1024**2
_MOST_CHUNKS = 64
MERGED = ""
"""Name of the stream of all merged streams of an owner (attempt 0)."""


async def lock_stream(session: AsyncSession, owner: str, attempt: int, name: str) -> LogStream:
    """The stream's row, made if there is none, locked until the transaction ends."""
    statement = (
        select(LogStream)
        .where(LogStream.owner == owner, LogStream.attempt == attempt, LogStream.name == name)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found = (await session.execute(statement)).scalar_one_or_none()
    if found is not None:
        return found
    await session.execute(
        insert(LogStream).values(owner=owner, attempt=attempt, name=name).on_conflict_do_nothing()
    )
    return (await session.execute(statement)).scalar_one()


async def find_stream(
    session: AsyncSession, owner: str, attempt: int, name: str
) -> LogStream | None:
    """The stream's row, if there is one."""
    return await session.get(LogStream, (owner, attempt, name), populate_existing=True)


async def list_streams(
    session: AsyncSession, owner: str, *, for_update: bool = False
) -> Sequence[LogStream]:
    """All streams of an owner, the merged one included; locked when they are to be changed."""
    statement = (
        select(LogStream)
        .where(LogStream.owner == owner)
        .order_by(LogStream.attempt.desc(), LogStream.name.desc())
        .execution_options(populate_existing=True)
    )
    if for_update:
        statement = statement.with_for_update()
    return (await session.execute(statement)).scalars().all()[::-1]


async def list_page(
    session: AsyncSession, owner: str, page: PageQuery
) -> tuple[list[LogStream], str]:
    """Streams of an owner by attempt and name, the merged one included."""
    return await fetch_page(
        session,
        select(LogStream).where(LogStream.owner == owner),
        keys=[LogStream.attempt, LogStream.name],
        page=page,
        key_of=lambda row: [row.attempt, row.name],
    )


async def total_bytes(session: AsyncSession, owner: str) -> int:
    """How long all streams of an owner are together; the merged one repeats others."""
    statement = select(func.coalesce(func.sum(LogStream.length_bytes), 0)).where(
        LogStream.owner == owner, LogStream.name != MERGED
    )
    return int((await session.execute(statement)).scalar_one())


async def grow(session: AsyncSession, owner: str, attempt: int, name: str, *, count: int) -> int:
    """Lengthen a stream by ``count`` bytes.

    Returns:
        Its length before.
    """
    statement = (
        update(LogStream)
        .where(LogStream.owner == owner, LogStream.attempt == attempt, LogStream.name == name)
        .values(length_bytes=LogStream.length_bytes + count)
        .returning(LogStream.length_bytes)
        .execution_options(synchronize_session=False)
    )
    after: int = (await session.execute(statement)).scalar_one()
    return after - count


def _chunks(place: InstrumentedAttribute[Any], *chosen: ColumnElement[bool]) -> Statement:
    """Chunks of a stream from the one that holds byte ``start``, in order."""
    start = bindparam("start", type_=BigInteger)
    holder = select(func.max(place)).where(*chosen, place <= start).scalar_subquery()
    return Statement(
        select(place.label("place"), LogChunk.data)
        .where(*chosen, place >= func.coalesce(holder, 0))
        .order_by(place)
        .limit(_MOST_CHUNKS)
    )


_OF_MERGED = _chunks(
    LogChunk.merged_offset,
    LogChunk.owner == bindparam("owner"),
    LogChunk.merged_offset.is_not(None),
)
_OF_ONE = _chunks(
    LogChunk.offset,
    LogChunk.owner == bindparam("owner"),
    LogChunk.attempt == bindparam("attempt", type_=BigInteger),
    LogChunk.name == bindparam("name"),
)


async def read_chunks(
    direct: DirectPool, owner: str, attempt: int, name: str, *, start: int
) -> Sequence[tuple[int, bytes]]:
    """Chunks from the one that holds byte ``start``: (offset, data), in order."""
    given: dict[str, Any] = {"owner": owner, "start": start}
    if name == MERGED:
        rows = await direct.rows(_OF_MERGED, **given)
    else:
        rows = await direct.rows(_OF_ONE, **given, attempt=attempt, name=name)
    return [(row["place"], row["data"]) for row in rows]


async def read_timed_chunks(
    session: AsyncSession, owner: str, attempt: int, name: str, *, start: int, limit: int
) -> Sequence[tuple[int, bytes, bytes | None]]:
    """Chunks from the one that holds byte ``start``: (offset, data, times), in order."""
    chosen = [LogChunk.owner == owner, LogChunk.attempt == attempt, LogChunk.name == name]
    holder = select(func.max(LogChunk.offset)).where(*chosen, LogChunk.offset <= start)
    statement = (
        select(LogChunk.offset, LogChunk.data, LogChunk.times)
        .where(*chosen, LogChunk.offset >= func.coalesce(holder.scalar_subquery(), 0))
        .order_by(LogChunk.offset)
        .limit(limit)
    )
    return [(row.offset, row.data, row.times) for row in await session.execute(statement)]


async def read_times(
    session: AsyncSession, owner: str, attempt: int, name: str, *, after: int, limit: int = 1000
) -> Sequence[tuple[int, bytes | None]]:
    """Times of the chunks that begin after byte ``after``: (offset, times), in order."""
    statement = (
        select(LogChunk.offset, LogChunk.times)
        .where(
            LogChunk.owner == owner,
            LogChunk.attempt == attempt,
            LogChunk.name == name,
            LogChunk.offset > after,
        )
        .order_by(LogChunk.offset)
        .limit(limit)
    )
    return [(row.offset, row.times) for row in await session.execute(statement)]


async def delete_chunks(session: AsyncSession, owner: str) -> None:
    """Remove the chunks of an owner whose streams have all been sealed."""
    await session.execute(delete(LogChunk).where(LogChunk.owner == owner))


async def delete_all(session: AsyncSession, owner: str) -> None:
    """Delete all streams of an owner that is being deleted, sealed or not."""
    await session.execute(delete(LogChunk).where(LogChunk.owner == owner))
    await session.execute(delete(LogStream).where(LogStream.owner == owner))
