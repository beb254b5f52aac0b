"""Figures about the whole installation."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.orm import Base, Reconciled
from app.tables.run import Run


async def runs_by_status(session: AsyncSession) -> Sequence[tuple[str, int]]:
    """How many runs are in which state."""
    rows = await session.execute(select(Run.status, func.count()).group_by(Run.status))
    return sorted((status, count) for status, count in rows)


async def reconcile_lag_seconds(session: AsyncSession) -> Sequence[tuple[str, float]]:
    """By table: for how long the longest overdue row has been due without a worker at it."""
    lags = []
    for mapper in Base.registry.mappers:
        if not issubclass(mapper.class_, Reconciled):
            continue
        table = mapper.local_table
        age = func.extract("epoch", func.clock_timestamp() - func.min(table.c.next_check_at))
        free = select(func.greatest(age, 0)).where(table.c.lease_token.is_(None))
        lags.append((str(table), float((await session.execute(free)).scalar_one() or 0.0)))
    return sorted(lags)
