"""Logs of runs go when their workspace keeps them no longer."""

from collections.abc import Sequence

from sqlalchemy import Integer, cast, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.runs.errors import RunNotFound
from app.runs.transitions import add_event, lock_run
from app.tables.log import LogStream
from app.tables.run import Run, RunFile
from app.tables.workspace import Workspace


async def ripe(session: AsyncSession, *, limit: int, but: Sequence[str] = ()) -> Sequence[str]:
    """Ids of runs that ended longer ago than their workspace keeps logs, and still have them.

    Args:
        session: to read in.
        limit: so many at most.
        but: without these.
    """
    kept = select(LogStream.owner).where(
        LogStream.owner == Run.id, LogStream.expired_at.is_(None), LogStream.sha256.is_not(None)
    )
    days = func.make_interval(0, 0, 0, cast(Workspace.log_retention_days, Integer))
    statement = (
        select(Run.id)
        .join(Workspace, Workspace.id == Run.workspace_id)
        .where(
            Workspace.log_retention_days.is_not(None),
            Run.sealed_at.is_not(None),
            Run.ended_at < func.clock_timestamp() - days,
            kept.exists(),
            Run.id.not_in(but),
        )
        .limit(limit)
    )
    return (await session.scalars(statement)).all()


async def expire(session: AsyncSession, run_id: str, *, actor: str) -> None:
    """Take a run's logs away: from now on they are answered with 410.

    Their lengths and hashes stay known; the bytes go with the next collection of what nothing
    refers to.

    Args:
        session: the transaction to write in.
        run_id: the run, which has ended.
        actor: who does it.
    """
    try:
        run = await lock_run(session, run_id)
    except RunNotFound:
        return  # somebody has just deleted it, and its logs with it
    streams = update(LogStream).where(LogStream.owner == run_id, LogStream.expired_at.is_(None))
    changed = await session.execute(
        streams.values(expired_at=func.clock_timestamp()).returning(LogStream.id)
    )
    if not changed.all():
        return  # another worker was first
    files = delete(RunFile).where(RunFile.run_id == run_id, RunFile.origin == "log")
    await session.execute(files)
    add_event(session, run, kind="logs_expired", actor=actor)
