"""Values of metrics over time."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.mlflow import run_documents
from app.tables.metric import Metric
from app.tables.run import Run


def document(row: Row[Any], *, run_id: str | None = None) -> dict[str, Any]:
    """One value as clients read it, with its run where several are asked about."""
    found = run_documents.metric_document(row)
    return found if run_id is None else {**found, "run_id": run_id}


async def values(
    session: AsyncSession, run: Run, name: str, *, offset: int, limit: int
) -> Sequence[Row[Any]]:
    """Values of a metric of a run's present attempt, by time and step."""
    statement = (
        _of([run], name)
        .order_by(Metric.logged_at, Metric.step, Metric.source, Metric.seq)
        .offset(offset)
        .limit(limit)
    )
    rows: Sequence[Row[Any]] = (await session.execute(statement)).all()
    return rows


async def sampled(
    session: AsyncSession,
    runs: Sequence[Run],
    name: str,
    *,
    first: int | None,
    last: int | None,
    most: int,
) -> Sequence[Row[Any]]:
    """Values at steps that are evenly chosen among all that there are.

    Args:
        session: a transaction to read in.
        runs: whose metrics.
        name: of the metric.
        first: the first step of interest.
        last: the last step of interest.
        most: about how many steps; the first and the last of each run are always among them.
    """
    statement = _of(runs, name)
    if first is not None and last is not None:
        statement = statement.where(Metric.step.between(first, last))
    placed = statement.add_columns(
        # Which step in the run; of a step, the value that was logged last.
        func.dense_rank().over(partition_by=Metric.run_id, order_by=Metric.step).label("place"),
        func.row_number()
        .over(
            partition_by=(Metric.run_id, Metric.step),
            order_by=(Metric.logged_at.desc(), Metric.seq),
        )
        .label("of_step"),
    ).subquery()
    counted = select(
        placed, func.max(placed.c.place).over(partition_by=placed.c.run_id).label("steps")
    ).subquery()
    every = (counted.c.steps + most - 1) // most
    chosen = (
        select(counted)
        .where(
            ((counted.c.place - 1) % every == 0) | (counted.c.place == counted.c.steps),
            counted.c.of_step == 1,
        )
        .order_by(counted.c.run_id, counted.c.step)
    )
    return (await session.execute(chosen)).all()


def _of(runs: Sequence[Run], name: str) -> Select[Any]:
    keys = [(run.id, run.attempt) for run in runs]
    return select(
        Metric.run_id, Metric.name, Metric.value, Metric.data, Metric.step, Metric.logged_at
    ).where(
        tuple_(Metric.run_id, Metric.attempt).in_(keys),
        Metric.namespace == "",
        Metric.type == "scalar",
        Metric.name == name,
    )
