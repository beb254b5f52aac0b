"""Values of metrics over time."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Float, Row, Select, case, cast, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.mlflow import run_documents
from app.tables.metric import Metric
from app.tables.run import Run

_HEIGHT = func.coalesce(
    Metric.value,
    cast(case({"inf": "Infinity"}, value=Metric.data["value"].astext, else_="-Infinity"), Float),
)
"""A value to compare by; NaN is among the least."""


def document(row: Row[Any], *, run_id: str | None = None) -> dict[str, Any]:
    """One value as clients read it, with its run where several are asked about."""
    found = run_documents.metric_document(row)
    return found if run_id is None else {**found, "run_id": run_id}


async def values(
    session: AsyncSession, run: Run, name: str, *, offset: int, limit: int
) -> Sequence[Row[Any]]:
    """Values of a metric of a run's present attempt, by time, step and value."""
    statement = (
        _of([run], name)
        .order_by(Metric.logged_at, Metric.step, _HEIGHT, Metric.source, Metric.seq)
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
    """Values of each run, evenly chosen among all that it has.

    Args:
        session: a transaction to read in.
        runs: whose metrics.
        name: of the metric.
        first: the first step of interest.
        last: the last step of interest.
        most: how many of each run; the first and the last are among them.
    """
    statement = _of(runs, name)
    if first is not None and last is not None:
        statement = statement.where(Metric.step.between(first, last))
    order = (Metric.step, Metric.logged_at, _HEIGHT, Metric.seq)
    placed = statement.add_columns(
        func.ntile(most).over(partition_by=Metric.run_id, order_by=order).label("part"),
        func.row_number().over(partition_by=Metric.run_id, order_by=order).label("place"),
        func.count().over(partition_by=Metric.run_id).label("count"),
    ).subquery()
    parts = select(
        placed,
        func.min(placed.c.place).over(partition_by=(placed.c.run_id, placed.c.part)).label("begin"),
    ).subquery()
    # The first of each part; of the last part, where there are so many, the last instead.
    is_chosen = case(
        (parts.c.part == most, parts.c.place == parts.c.count),
        else_=parts.c.place == parts.c.begin,
    )
    chosen = select(parts).where(is_chosen).order_by(parts.c.run_id, parts.c.place)
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
