"""Tracked runs that a job's script made: when the script is gone, nobody else will end them."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.runs.states import TERMINAL, Status
from app.runs.transitions import transition
from app.tables.run import Run


async def end_children(
    session: AsyncSession, run: Run, status: Status, *, actor: str, reason: str
) -> None:
    """End those that the script left open.

    Args:
        session: the transaction that holds the lock of the job.
        run: the job.
        status: how they end.
        actor: who says so.
        reason: why, for a person.
    """
    statement = (
        select(Run)
        .where(Run.creator_run_id == run.id, Run.status.not_in(TERMINAL))
        .order_by(Run.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    for child in (await session.execute(statement)).scalars():
        transition(session, child, status, actor=actor, reason=reason)
