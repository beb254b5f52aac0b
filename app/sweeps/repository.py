"""Queries about sweeps and trials."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Integer, Row, Select, String, column, func, select, true, values
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.pagination import PageQuery, fetch_page
from app.sweeps.errors import SweepNotFound
from app.sweeps.judging import History
from app.tables.experiment import Experiment
from app.tables.metric import Metric, MetricSummary
from app.tables.run import Run
from app.tables.sweep import Sweep, Trial


class Counts(NamedTuple):
    """Trials of a sweep by how they stand."""

    total: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    canceled: int = 0
    ended_early: int = 0
    cost: float = 0.0


async def get(session: AsyncSession, workspace_id: str, sweep_id: str) -> Sweep:
    """The sweep of this id in the workspace.

    Raises:
        SweepNotFound: there is none.
    """
    statement = select(Sweep).where(Sweep.workspace_id == workspace_id, Sweep.id == sweep_id)
    statement = statement.execution_options(populate_existing=True)
    sweep = (await session.execute(statement)).scalar_one_or_none()
    if sweep is None:
        raise SweepNotFound(sweep_id)
    return sweep


async def lock(session: AsyncSession, sweep_id: str) -> Sweep:
    """The sweep, locked until the transaction ends."""
    statement = (
        select(Sweep)
        .where(Sweep.id == sweep_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).scalar_one()


async def list_page(
    session: AsyncSession, workspace_id: str, page: PageQuery, *, experiment_name: str | None
) -> tuple[list[Sweep], str]:
    """Sweeps of a workspace, the newest first."""
    statement = select(Sweep).where(Sweep.workspace_id == workspace_id)
    if experiment_name is not None:
        experiment = select(Experiment.id).where(
            Experiment.workspace_id == workspace_id, Experiment.name == experiment_name
        )
        statement = statement.where(Sweep.experiment_id.in_(experiment))
    return await fetch_page(
        session,
        statement,
        keys=[Sweep.id],
        page=page,
        key_of=lambda row: [row.id],
        descending=True,
    )


async def experiment_names(session: AsyncSession, sweeps: Sequence[Sweep]) -> dict[str, str]:
    """Names of the experiments of these sweeps, by the experiment's id."""
    ids = {sweep.experiment_id for sweep in sweeps}
    statement = select(Experiment.id, Experiment.name).where(Experiment.id.in_(ids))
    return {row.id: row.name for row in await session.execute(statement)}


async def counts(session: AsyncSession, sweep_ids: Sequence[str]) -> dict[str, Counts]:
    """How many trials these sweeps have."""
    outcome = Trial.outcome
    statement = (
        select(
            Trial.sweep_id,
            func.count().label("total"),
            func.count().filter(outcome == "").label("running"),
            func.count().filter(outcome == "Completed").label("completed"),
            func.count().filter(outcome == "Failed").label("failed"),
            func.count().filter(outcome == "Canceled").label("canceled"),
            func.count().filter(Trial.ended_interval.is_not(None)).label("ended_early"),
            func.sum(Trial.cost).label("cost"),
        )
        .where(Trial.sweep_id.in_(sweep_ids))
        .group_by(Trial.sweep_id)
    )
    return {row[0]: Counts(*row[1:]) for row in await session.execute(statement)}


async def best_trial(
    session: AsyncSession,
    sweep_id: str,
    *,
    maximize: bool,
    outcomes: Sequence[str] | None = None,
    has_run: bool = False,
) -> Trial | None:
    """The trial with the best value; of equals the first.

    Args:
        session: the transaction to read in.
        sweep_id: the sweep.
        maximize: whether high values are good.
        outcomes: only trials that came to one of these; None: any, running ones too.
        has_run: only trials whose run was not deleted.
    """
    statement = select(Trial).where(Trial.sweep_id == sweep_id, Trial.value.is_not(None))
    if has_run:
        statement = statement.join(Run, Run.id == Trial.run_id).where(Run.deleted_at.is_(None))
    if outcomes is not None:
        statement = statement.where(Trial.outcome.in_(outcomes))
    order = Trial.value.desc() if maximize else Trial.value.asc()
    statement = statement.order_by(order, Trial.number).limit(1)
    return (await session.execute(statement)).scalar_one_or_none()


_SHOWN = (
    Trial.number,
    Trial.run_id,
    Trial.parameters,
    Trial.outcome,
    Trial.value,
    Trial.intervals,
    Trial.cost,
    Trial.termination,
    Trial.created_at,
    Trial.ended_at,
    Run.status.label("run_status"),
)


def _with_runs(sweep_id: str) -> Select[Any]:
    return select(*_SHOWN).outerjoin(Run, Run.id == Trial.run_id).where(Trial.sweep_id == sweep_id)


async def list_trials(
    session: AsyncSession, sweep_id: str, page: PageQuery, *, by_value: bool, descending: bool
) -> tuple[list[Row[Any]], str]:
    """Trials by number, or those that have a value by it, of equals the first first."""
    statement = _with_runs(sweep_id)
    if not by_value:
        return await fetch_page(
            session,
            statement,
            keys=[Trial.number],
            page=page,
            key_of=lambda row: [row.number],
            descending=descending,
            scalars=False,
        )
    sign = -1 if descending else 1
    return await fetch_page(
        session,
        statement.where(Trial.value.is_not(None)),
        keys=[Trial.value * sign, Trial.number],
        page=page,
        key_of=lambda row: [row.value * sign, row.number],
        scalars=False,
    )


async def shown_trial(session: AsyncSession, sweep_id: str, number: int) -> Row[Any]:
    """One trial with the state of its run."""
    statement = _with_runs(sweep_id).where(Trial.number == number)
    row: Row[Any] = (await session.execute(statement)).one()
    return row


async def all_trials(session: AsyncSession, sweep_ids: Sequence[str]) -> Sequence[Trial]:
    """Trials of these sweeps by number, without what they reported and what ended them."""
    statement = (
        select(Trial)
        .where(Trial.sweep_id.in_(sweep_ids))
        .order_by(Trial.sweep_id, Trial.number)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).scalars().all()


class Progress(NamedTuple):
    """How far the run of a trial is."""

    number: int
    run_id: str | None
    status: str
    attempt: int
    is_deleted: bool
    ended_at: Any
    intervals: int
    lowest: float | None
    highest: float | None


async def progress(session: AsyncSession, sweep_id: str, metric: str) -> list[Progress]:
    """How far the runs of the trials are that have come to nothing yet.

    Intervals are those of the newest attempt; the lowest and the highest value are of all.
    """
    count = MetricSummary.__table__.c["count"]
    statement = (
        select(
            Trial.number,
            Trial.run_id,
            func.coalesce(Run.status, ""),
            func.coalesce(Run.attempt, 0),
            Run.deleted_at.is_not(None),
            Run.ended_at,
            func.coalesce(func.max(count).filter(MetricSummary.attempt == Run.attempt), 0),
            func.min(MetricSummary.min),
            func.max(MetricSummary.max),
        )
        .outerjoin(Run, Run.id == Trial.run_id)
        .outerjoin(
            MetricSummary,
            (MetricSummary.run_id == Run.id)
            & (MetricSummary.namespace == "")
            & (MetricSummary.name == metric),
        )
        .where(Trial.sweep_id == sweep_id, Trial.outcome == "")
        .group_by(Trial.sweep_id, Trial.number, Run.id)
        .order_by(Trial.number)
    )
    return [Progress(*row) for row in await session.execute(statement)]


async def attempts(session: AsyncSession, sweep_id: str) -> list[tuple[str, int]]:
    """The runs of a sweep, each with its latest attempt."""
    statement = select(Run.id, Run.attempt).join(Trial, Trial.run_id == Run.id)
    found = await session.execute(statement.where(Trial.sweep_id == sweep_id))
    return [(run_id, attempt) for run_id, attempt in found]


class Reported(NamedTuple):
    """What a trial that is over had logged."""

    number: int
    values: list[float | None] | None
    times: list[float] | None
    ended_at: datetime | None


def history(found: Reported) -> History:
    """The same, with when it ended."""
    values = found.values or []
    # Of trials that were over before moments were kept, all came before everything else.
    times = [0.0] * len(values) if found.times is None else found.times
    ended = 0.0 if found.ended_at is None or found.times is None else found.ended_at.timestamp()
    return History(found.number, values, times, max([ended, *times[-1:]]))


async def reported(session: AsyncSession, sweep_id: str) -> list[Reported]:
    """What the trials that are over had logged, by number."""
    statement = (
        select(Trial.number, Trial.reported, Trial.reported_at, Trial.ended_at)
        .where(Trial.sweep_id == sweep_id, Trial.outcome != "")
        .order_by(Trial.number)
    )
    return [Reported(*row) for row in await session.execute(statement)]


async def terminations(session: AsyncSession, sweep_id: str) -> dict[int, dict[str, Any]]:
    """The comparisons that ended trials of a sweep, by number."""
    statement = select(Trial.number, Trial.termination).where(
        Trial.sweep_id == sweep_id, Trial.ended_interval.is_not(None)
    )
    return {row.number: row.termination for row in await session.execute(statement)}


async def logged(
    session: AsyncSession, runs: Sequence[tuple[str, int]], metric: str, *, most: int
) -> dict[str, list[tuple[float | None, Any]]]:
    """Values of a metric with their times, in the order of logging.

    Args:
        session: a transaction to read in.
        runs: the runs, each with the attempt whose values are wanted.
        metric: its name.
        most: of each attempt; the first so many are read.
    """
    found: dict[str, list[tuple[float | None, Any]]] = {run_id: [] for run_id, _ in runs}
    if not runs:
        return found
    asked = values(column("run_id", String), column("attempt", Integer), name="asked").data(
        list(runs)
    )
    order = (Metric.logged_at, Metric.source, Metric.seq)
    first = (
        select(Metric.value, *order)
        .where(
            Metric.run_id == asked.c.run_id,
            Metric.attempt == asked.c.attempt,
            Metric.namespace == "",
            Metric.name == metric,
        )
        .order_by(*order)
        .limit(most)
        .lateral("first")
    )
    statement = (
        select(asked.c.run_id, first.c.value, first.c.logged_at)
        .join(first, true())
        .order_by(asked.c.run_id, first.c.logged_at, first.c.source, first.c.seq)
    )
    for run_id, value, logged_at in await session.execute(statement):
        found[run_id].append((value, logged_at))
    return found
