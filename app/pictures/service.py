"""What pictures are made of, out of the database."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.costs import charges
from app.costs import service as budgets
from app.costs.periods import bounds
from app.metrics import service as metrics
from app.metrics.repository import Wanted
from app.pictures import spending
from app.pictures.curves import Curves
from app.pictures.texts import label
from app.runs.errors import RunNotFound
from app.tables.run import Run, RunEvent

POINTS = 1000
"""Of one curve: more than a picture has pixels for."""
_MOST_EVENTS = 2000


async def budget_of(
    session: AsyncSession, workspace_id: str, since: datetime
) -> spending.Limit | None:
    """The budget of a workspace, for a picture that begins at a moment; None: it has none."""
    row = await budgets.find(session, workspace_id)
    if row is None:
        return None
    begins, _ = bounds(row.period, since)
    before = await charges.spent(session, workspace_id=workspace_id, since=begins, until=since)
    return spending.Limit(float(row.amount), row.period, before)


def title_of(run: Run) -> str:
    """How a run is called in a picture."""
    return label(run.display_name or run.id)


async def curves_of(session: AsyncSession, run: Run, wanted: Wanted, *, attempt: int) -> Curves:
    """The metrics of an attempt of a run, thinned out."""
    found = await metrics.read(
        session, run_id=run.id, attempt=attempt, wanted=wanted, max_points=POINTS
    )
    return Curves(title_of(run), run.started_at, found.items)


async def curves_of_runs(
    session: AsyncSession, workspace_id: str, run_ids: Sequence[str], wanted: Wanted
) -> list[Curves]:
    """The metrics of several runs, thinned out, in the order in which they were asked for.

    Raises:
        RunNotFound: the workspace has no such run.
    """
    wanted_ids = list(dict.fromkeys(run_ids))
    statement = select(Run).where(Run.workspace_id == workspace_id, Run.id.in_(wanted_ids))
    rows = {row.id: row for row in (await session.execute(statement)).scalars()}
    for run_id in wanted_ids:
        if run_id not in rows:
            raise RunNotFound(run_id)
    found = await metrics.compare(session, workspace_id, wanted_ids, wanted, POINTS)
    names = _told_apart([rows[run_id] for run_id in wanted_ids])
    return [
        Curves(name, rows[compared.run_id].started_at, compared.metrics)
        for name, compared in zip(names, found.items, strict=True)
    ]


async def state_events(session: AsyncSession, run: Run) -> Sequence[RunEvent]:
    """When the run's state changed, and when attempts began."""
    statement = (
        select(RunEvent)
        .where(
            RunEvent.run_id == run.id,
            RunEvent.type.in_(("submitted", "state_changed", "attempt_started")),
        )
        .order_by(RunEvent.seq)
        .limit(_MOST_EVENTS)
    )
    return (await session.execute(statement)).scalars().all()


def _told_apart(runs: Sequence[Run]) -> list[str]:
    """Their names; those that are called the same have the end of the id behind."""
    names = [title_of(run) for run in runs]
    return [
        f"{name} ({run.id[-6:]})" if names.count(name) > 1 else name
        for run, name in zip(runs, names, strict=True)
    ]
