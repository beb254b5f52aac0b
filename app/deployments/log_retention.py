"""What replicas printed goes when their workspace keeps it no longer, from its beginning on."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Integer, cast, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.deployments import repository
from app.deployments.order import log_attempt
from app.logs import repository as logs
from app.logs.repository import MERGED
from app.tables.deployment import Deployment
from app.tables.log import LogChunk, LogStream
from app.tables.workspace import Workspace

CHUNKS_AT_ONCE = 256


class Ripe(NamedTuple):
    """A deployment whose log begins with what is kept no longer than so many days."""

    deployment_id: str
    days: int


async def ripe(session: AsyncSession) -> Sequence[Ripe]:
    """Deployments whose oldest bytes were printed longer ago than their workspace keeps them."""
    oldest = (
        select(LogChunk.created_at)
        .where(LogChunk.owner == Deployment.id)
        .order_by(LogChunk.merged_offset)
        .limit(1)
        .correlate(Deployment)
        .scalar_subquery()
    )
    statement = (
        select(Deployment.id, Workspace.log_retention_days)
        .join(Workspace, Workspace.id == Deployment.workspace_id)
        .where(oldest < _since(Workspace.log_retention_days))
    )
    found = await session.execute(statement)
    return [Ripe(deployment_id, days) for deployment_id, days in found if days is not None]


async def expire(session: AsyncSession, found: Ripe) -> int:
    """Take away some of the oldest bytes of a deployment's log; its offsets stay what they were.

    A replica may print for years, so that here, unlike with runs, each line has a time of its own.

    Args:
        session: the transaction to write in.
        found: whose log, and how long it is kept.

    Returns:
        How many pieces went; less than `CHUNKS_AT_ONCE`: nothing is left to do.
    """
    # As whoever appends and seals has it: streams first, the merged one last.
    await logs.list_streams(session, found.deployment_id, for_update=True)
    # By the index of the merged stream: there is none of times, and whoever prints waits meanwhile.
    oldest = (
        select(LogChunk.id, LogChunk.created_at)
        .where(LogChunk.owner == found.deployment_id)
        .order_by(LogChunk.merged_offset)
        .limit(CHUNKS_AT_ONCE)
        .subquery()
    )
    chunks = select(oldest.c.id).where(oldest.c.created_at < _since(found.days))
    size = func.octet_length(LogChunk.data)
    gone = await session.execute(
        delete(LogChunk)
        .where(LogChunk.id.in_(chunks))
        .returning(
            LogChunk.attempt, LogChunk.name, LogChunk.offset + size, LogChunk.merged_offset + size
        )
    )
    count = 0
    ends: dict[tuple[int, str], int] = {}
    for attempt, name, end, merged_end in gone:
        count += 1
        for key, byte in (((attempt, name), end), ((0, MERGED), merged_end)):
            ends[key] = max(ends.get(key, 0), byte or 0)
    for (attempt, name), end in ends.items():
        stream = update(LogStream).where(
            LogStream.owner == found.deployment_id,
            LogStream.attempt == attempt,
            LogStream.name == name,
        )
        await session.execute(stream.values(first_byte=func.greatest(LogStream.first_byte, end)))
    await _forget_streams(session, found.deployment_id)
    return count


async def _forget_streams(session: AsyncSession, deployment_id: str) -> None:
    """Delete the streams that have no bytes left and that nothing writes to any more.

    Each start of a replica has its own, and a deployment may start thousands.
    """
    present = await repository.present_replicas(session, [deployment_id])
    may_write = [log_attempt(replica) for replica in present[deployment_id]]
    await session.execute(
        delete(LogStream).where(
            LogStream.owner == deployment_id,
            LogStream.name != MERGED,
            LogStream.first_byte >= LogStream.length_bytes,
            LogStream.attempt.not_in(may_write),
        )
    )


def _since(days: object) -> ColumnElement[object]:
    return func.clock_timestamp() - func.make_interval(0, 0, 0, cast(days, Integer))
