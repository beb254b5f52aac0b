"""Queries about metrics; columns only, no objects: there may be many rows."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, String, cast, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.tables.metric import Metric, MetricSummary
from app.tables.run import Run

_ROWS_AT_ONCE = 5000
_BYTES_AT_ONCE = 16 * 1024 * 1024

Key = tuple[str, int]
"""A run's id and an attempt of it."""


class Wanted(NamedTuple):
    """Which values of an attempt.

    Attributes:
        names: of the metrics; empty: all.
        namespace: empty for what the script logged.
        first_step, last_step: bounds, both included; values without a step are outside.
        since, until: bounds of the time, both included.
    """

    names: Sequence[str] = ()
    namespace: str = ""
    first_step: int | None = None
    last_step: int | None = None
    since: datetime | None = None
    until: datetime | None = None


async def summaries(
    session: AsyncSession, keys: Sequence[Key], wanted: Wanted, *, most: int
) -> Sequence[Row[Any]]:
    """Summaries of these attempts, by run and name; without ``last_data``, but with its size.

    Args:
        session: a transaction to read in.
        keys: the attempts.
        wanted: which metrics.
        most: so many, and no more.
    """
    table = MetricSummary.__table__
    columns: list[Any] = [column for column in table.c if column.name != "last_data"]
    statement: Select[Any] = (
        select(*columns)
        .add_columns(_size(table.c.last_data))
        .where(
            tuple_(table.c.run_id, table.c.attempt).in_(keys),
            table.c.namespace == wanted.namespace,
        )
        .order_by(table.c.run_id, table.c.name)
        .limit(most)
    )
    if wanted.names:
        statement = statement.where(table.c.name.in_(wanted.names))
    rows: Sequence[Row[Any]] = (await session.execute(statement)).all()
    return rows


async def last_data(
    session: AsyncSession, found: Sequence[Row[Any]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """What is no number, of these summaries, by run and name."""
    place = (MetricSummary.run_id, MetricSummary.attempt, MetricSummary.name)
    asked = [(row.run_id, row.attempt, row.name) for row in found if row.size is not None]
    namespaces = {row.namespace for row in found}
    data: dict[tuple[str, str], dict[str, Any]] = {}
    for start in range(0, len(asked), _ROWS_AT_ONCE):
        some = asked[start : start + _ROWS_AT_ONCE]
        statement = select(MetricSummary.run_id, MetricSummary.name, MetricSummary.last_data).where(
            tuple_(*place).in_(some),
            MetricSummary.namespace.in_(namespaces),
            # A number that was logged meanwhile is seen by the next call.
            MetricSummary.last_data.is_not(None),
        )
        for run_id, name, value in await session.execute(statement):
            data[(run_id, name)] = value
    return data


async def last_values(
    session: AsyncSession, workspace_id: str, run_ids: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Last values of what the scripts of these runs logged, by run and name of the metric."""
    statement = (
        select(MetricSummary.run_id, MetricSummary.name, MetricSummary.last)
        .join(Run, (Run.id == MetricSummary.run_id) & (Run.attempt == MetricSummary.attempt))
        .where(
            Run.workspace_id == workspace_id,
            Run.id.in_(run_ids),
            MetricSummary.namespace == "",
        )
    )
    found: dict[str, dict[str, float]] = {}
    for run_id, name, last in await session.execute(statement):
        if last is not None:
            found.setdefault(run_id, {})[name] = last
    return found


async def known_names(session: AsyncSession, run_id: str, attempt: int) -> frozenset[str]:
    """Names of the metrics that an attempt's script has logged."""
    statement = select(MetricSummary.name).where(
        MetricSummary.run_id == run_id,
        MetricSummary.attempt == attempt,
        MetricSummary.namespace == "",
    )
    return frozenset((await session.execute(statement)).scalars())


async def were_logged(session: AsyncSession, *, run_id: str, within_seconds: float) -> bool:
    """Whether the latest value of a metric of the script's is of the last so many seconds."""
    since = func.clock_timestamp() - timedelta(seconds=within_seconds)
    found = select(MetricSummary.name).where(
        MetricSummary.run_id == run_id, MetricSummary.namespace == "", MetricSummary.last_at > since
    )
    return (await session.execute(found.limit(1))).first() is not None


async def points(
    session: AsyncSession, keys: Sequence[Key], wanted: Wanted
) -> AsyncGenerator[Row[Any]]:
    """Values of these attempts by run, name and time, a few at a time; their data are not read."""
    statement = (
        _limited(keys, wanted)
        .order_by(Metric.run_id, Metric.name, Metric.logged_at, Metric.source, Metric.seq)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    rows = await session.stream(statement)
    try:
        async for row in rows:
            yield row
    finally:
        await rows.close()


async def page_after(
    session: AsyncSession, key: Key, wanted: Wanted, after: Sequence[Any] | None
) -> Sequence[Row[Any]]:
    """The next values of an attempt by name and time, after the one with these last columns.

    Their data are not read.

    Args:
        session: a transaction to read in.
        key: the attempt.
        wanted: which values.
        after: name, time, source and number of the last one that was read; None: from the start.
    """
    place = (Metric.name, Metric.logged_at, Metric.source, Metric.seq)
    statement = _limited([key], wanted)
    if after is not None:
        statement = statement.where(tuple_(*place) > tuple_(*after))
    statement = statement.order_by(*place).limit(_ROWS_AT_ONCE)
    rows: Sequence[Row[Any]] = (await session.execute(statement)).all()
    return rows


def portions(rows: Sequence[Row[Any]]) -> Iterator[Sequence[Row[Any]]]:
    """Values, so many at a time that their data are not too much to be read at once."""
    first = size = 0
    for index, row in enumerate(rows):
        size += row.size or 0
        if size > _BYTES_AT_ONCE and index > first:
            yield rows[first:index]
            first, size = index, row.size or 0
    if first < len(rows):
        yield rows[first:]


async def data_of(
    session: AsyncSession, found: Sequence[Row[Any]]
) -> dict[tuple[str, int, str, int], dict[str, Any]]:
    """What is no number, of these values, by run, attempt, source and number."""
    place = (Metric.run_id, Metric.attempt, Metric.source, Metric.seq)
    asked = [place_of(row) for row in found if row.size is not None]
    data: dict[tuple[str, int, str, int], dict[str, Any]] = {}
    for start in range(0, len(asked), _ROWS_AT_ONCE):
        some = asked[start : start + _ROWS_AT_ONCE]
        statement = select(*place, Metric.data).where(tuple_(*place).in_(some))
        for *where, value in await session.execute(statement):
            run_id, attempt, source, seq = where
            data[(run_id, attempt, source, seq)] = value
    return data


def place_of(row: Row[Any]) -> tuple[str, int, str, int]:
    """What a value is known by."""
    return (row.run_id, row.attempt, row.source, row.seq)


async def largest(session: AsyncSession, key: Key, wanted: Wanted) -> int:
    """Bytes of the largest of these values that are no numbers; 0: there is none."""
    values = _limited([key], wanted).subquery()
    return (await session.execute(select(func.max(values.c.size)))).scalar_one() or 0


async def current_attempts(
    session: AsyncSession, workspace_id: str, run_ids: Sequence[str]
) -> dict[str, Any]:
    """Id, attempt, display name and status of those of these runs that the workspace has."""
    statement = select(Run.id, Run.attempt, Run.display_name, Run.status).where(
        Run.workspace_id == workspace_id, Run.id.in_(run_ids)
    )
    rows: Sequence[Any] = (await session.execute(statement)).all()
    return {row.id: row for row in rows}


def _limited(keys: Sequence[Key], wanted: Wanted) -> Select[Any]:
    columns: list[Any] = [
        Metric.run_id,
        Metric.attempt,
        Metric.name,
        Metric.logged_at,
        Metric.source,
        Metric.seq,
        Metric.type,
        Metric.step,
        Metric.epoch,
        Metric.value,
        _size(Metric.data),
    ]
    statement: Select[Any] = select(*columns).where(Metric.namespace == wanted.namespace)
    same = [(Metric.run_id == run_id) & (Metric.attempt == attempt) for run_id, attempt in keys]
    statement = statement.where(or_(*same))
    if wanted.names:
        statement = statement.where(Metric.name.in_(wanted.names))
    if wanted.first_step is not None:
        statement = statement.where(Metric.step >= wanted.first_step)
    if wanted.last_step is not None:
        statement = statement.where(Metric.step <= wanted.last_step)
    if wanted.since is not None:
        statement = statement.where(Metric.logged_at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(Metric.logged_at <= wanted.until)
    return statement


def _size(data: Any) -> ColumnElement[int | None]:
    """Bytes of what is no number; NULL: it is one."""
    return func.octet_length(cast(data, String)).label("size")
