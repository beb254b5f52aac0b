"""Writing and reading of metrics."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.principal import Principal
from app.kernel.db import Database
from app.kernel.errors import Invalid
from app.metrics import repository
from app.metrics.plots import FEWEST_POINTS, thinned
from app.metrics.repository import Key, Wanted
from app.metrics.schemas import (
    ComparedRun,
    Comparison,
    MetricBatch,
    MetricList,
    MetricPoint,
    MetricRead,
    MetricRecord,
    MetricSummaryList,
    MetricSummaryRead,
)
from app.metrics.values import point
from app.metrics.writing import MOST_NAMES, TooManyMetrics, store_current, store_points
from app.runs import repository as runs
from app.runs.errors import RunFinished, RunNotFound
from app.runs.states import TERMINAL
from app.workspaces import repository as workspaces
from app.workspaces.access import check_workspace

_MOST_VALUES = 200_000
"""More are neither held at a time nor put into one answer."""
_MOST_SUMMARIES = 100_000
"""Metrics of all runs together, in one answer."""
_MOST_BYTES = 32 * 1024 * 1024
"""So much of what is no number is put into one answer."""


class TooManyValues(Invalid):
    """The answer would have more values than one answer may have."""

    code = "too_many_values"


class TooManyBytes(Invalid):
    """The answer would be larger than one answer may be."""

    code = "too_many_values"

    def __init__(self) -> None:
        super().__init__(
            f"What of these values is no number is more than {_MOST_BYTES // 1024**2} MiB: ask for "
            "fewer with name, max_points, or first_step and last_step; or for all of them as a "
            "file, at …/metrics/export."
        )


async def store(
    session: AsyncSession,
    *,
    run_id: str,
    attempt: int,
    source: str,
    numbered: Sequence[tuple[int, MetricRecord]],
    namespace: str = "",
) -> None:
    """Store values; one that is stored already (same source and number) is left alone.

    Args:
        session: the transaction.
        run_id: the run.
        attempt: the attempt that logged them.
        source: who sends.
        numbered: values with their sequence numbers.
        namespace: empty for what the script logged; others keep names apart from the script's.
    """
    if not numbered:
        return
    await store_points(
        session,
        run_id=run_id,
        attempt=attempt,
        source=source,
        namespace=namespace,
        points=[point(seq, record) for seq, record in numbered],
    )


async def store_what_fits(
    session: AsyncSession,
    *,
    run_id: str,
    attempt: int,
    source: str,
    numbered: Sequence[tuple[int, MetricRecord]],
) -> list[str]:
    """Store what a script logged; of too many metrics, those that were there first.

    Args:
        session, run_id, attempt, source, numbered: as of `store`.

    Returns:
        The names that there was no room for; their values are not stored.
    """
    given: dict[str, Any] = {"run_id": run_id, "attempt": attempt, "source": source}
    try:
        await store(session, numbered=numbered, **given)
    except TooManyMetrics:
        names = list(dict.fromkeys(record.name for _, record in numbered))
        known = await repository.known_names(session, run_id, attempt)
        new = [name for name in names if name not in known]
        refused = new[max(0, MOST_NAMES - len(known)) :]
        kept = [item for item in numbered if item[1].name not in set(refused)]
        await store(session, numbered=kept, **given)
        return refused
    return []


async def store_from_client(
    database: Database, principal: Principal, *, workspace: str, run_id: str, batch: MetricBatch
) -> None:
    """Store what a client logs to the current attempt of a run, in one round trip.

    Raises:
        RunFinished: the run is over.
        RunNotFound, NotFound: there is no such run or workspace for this caller.
        TooManyMetrics: the run would have too many metrics.
    """
    is_open = await store_current(
        database.direct,
        principal=principal,
        workspace=workspace,
        run_id=run_id,
        closed=TERMINAL,
        source=f"client-{batch.source}",
        points=[point(seq, value) for seq, value in enumerate(batch.values, batch.first_seq)],
    )
    if is_open:
        return
    async with database.session() as session:
        row = await workspaces.get(session, workspace)
        check_workspace(principal, row)
        run = await runs.get(session, row.id, run_id)
    raise RunFinished(f"The run is {run.status}; nothing more can be logged.")


async def read(
    session: AsyncSession,
    *,
    run_id: str,
    attempt: int,
    wanted: Wanted,
    max_points: int | None = None,
) -> MetricList:
    """The metrics of an attempt with their values, by name.

    Args:
        session: a transaction to read in.
        run_id: the run.
        attempt: of the run.
        wanted: which values; count, last, min and max are those of the whole metric.
        max_points: thin each metric out to so many, or to fewer where there are too many metrics;
            None: all of its values.
    """
    found = await _read_all(session, [(run_id, attempt)], wanted, max_points)
    return MetricList(items=found[run_id])


async def summarize(
    session: AsyncSession, *, run_id: str, attempt: int, wanted: Wanted
) -> MetricSummaryList:
    """The metrics of an attempt without their values, by name."""
    found = await _summaries(session, [(run_id, attempt)], wanted)
    return MetricSummaryList(items=[MetricSummaryRead(**values) for _, values in found])


async def compare(
    session: AsyncSession,
    workspace_id: str,
    run_ids: Sequence[str],
    wanted: Wanted,
    max_points: int,
) -> Comparison:
    """The metrics of several runs side by side.

    Args:
        session: a transaction to read in.
        workspace_id: whose runs they are.
        run_ids: the runs, in the order of the answer.
        wanted: which values.
        max_points: thin each metric out to so many, or to fewer where there are too many metrics;
            0: none, the summary only.

    Raises:
        RunNotFound: the workspace has no such run.
        TooManyValues: they have too many metrics.
    """
    rows = await repository.current_attempts(session, workspace_id, run_ids)
    for run_id in run_ids:
        if run_id not in rows:
            raise RunNotFound(run_id)
    keys = [(run_id, rows[run_id].attempt) for run_id in run_ids]
    found = await _read_all(session, keys, wanted, max_points)
    return Comparison(
        items=[
            ComparedRun(
                run_id=run_id,
                display_name=rows[run_id].display_name,
                status=rows[run_id].status,
                metrics=found[run_id],
            )
            for run_id in run_ids
        ]
    )


async def _read_all(
    session: AsyncSession, keys: Sequence[Key], wanted: Wanted, max_points: int | None
) -> dict[str, list[MetricRead]]:
    found: dict[str, list[MetricRead]] = {run_id: [] for run_id, _ in keys}
    by_name: dict[tuple[str, str], MetricRead] = {}
    for row, values in await _summaries(session, keys, wanted):
        metric = MetricRead(**values, points=[])
        found[row.run_id].append(metric)
        by_name[(row.run_id, row.name)] = metric
    if max_points == 0:
        return found
    if max_points is not None and by_name:
        max_points = max(FEWEST_POINTS, min(max_points, _MOST_VALUES // len(by_name)))
    left, bytes_left = _MOST_VALUES, _MOST_BYTES
    async with (
        aclosing(repository.points(session, keys, wanted)) as points,
        aclosing(_grouped(points, max_points)) as groups,
    ):
        async for (run_id, name), rows in groups:
            left -= len(rows)
            if left < 0:
                raise TooManyValues(
                    f"These are more than {_MOST_VALUES} values: ask for fewer with max_points, "
                    "name, or first_step and last_step; or for all of them as a file, at "
                    "…/metrics/export."
                )
            bytes_left -= _bytes(rows)
            if bytes_left < 0:
                raise TooManyBytes
            # A value that was stored after the summaries were read waits for the next call.
            if (run_id, name) in by_name:
                by_name[(run_id, name)].points = await _points(session, rows)
    return found


async def _summaries(
    session: AsyncSession, keys: Sequence[Key], wanted: Wanted
) -> list[tuple[Row[Any], dict[str, Any]]]:
    """Summaries, each with what is shown of it."""
    rows = await repository.summaries(session, keys, wanted, most=_MOST_SUMMARIES + 1)
    if len(rows) > _MOST_SUMMARIES:
        raise TooManyValues(
            f"These are more than {_MOST_SUMMARIES} metrics: ask for fewer with name, or of fewer "
            "runs."
        )
    if _bytes(rows) > _MOST_BYTES:
        raise TooManyBytes
    data = await repository.last_data(session, rows)
    return [(row, _summary(row, data.get((row.run_id, row.name)))) for row in rows]


async def _grouped(
    rows: AsyncIterator[Row[Any]], most: int | None
) -> AsyncGenerator[tuple[tuple[str, str], list[Row[Any]]]]:
    """Rows of one metric at a time, thinned out to `most`; of a long one, already while it comes.

    Args:
        rows: by metric.
        most: of a metric; None: all, and after too many of them the rest is left out.
    """
    held: list[Row[Any]] = []
    async for row in rows:
        if held and (held[0].run_id, held[0].name) != (row.run_id, row.name):
            yield (held[0].run_id, held[0].name), await _thinned(held, most)
            held = []
        held.append(row)
        if len(held) > _MOST_VALUES:
            if most is None:
                break
            held = await _thinned(held, _MOST_VALUES // 2)
    if held:
        yield (held[0].run_id, held[0].name), await _thinned(held, most)


async def _thinned(rows: list[Row[Any]], most: int | None) -> list[Row[Any]]:
    if most is None or len(rows) <= most:
        return rows
    return await asyncio.to_thread(_fewer, rows, most)


def _fewer(rows: list[Row[Any]], most: int) -> list[Row[Any]]:
    has_steps = all(row.step is not None for row in rows)
    placed = [
        (row.step if has_steps else row.logged_at.timestamp(), row.value, row) for row in rows
    ]
    return thinned(placed, most=most)


async def _points(session: AsyncSession, rows: list[Row[Any]]) -> list[MetricPoint]:
    data = await repository.data_of(session, rows)
    return [
        MetricPoint(
            value=data.get(repository.place_of(row), {}).get("value", row.value),
            step=row.step,
            epoch=row.epoch,
            logged_at=row.logged_at,
        )
        for row in rows
    ]


def _bytes(rows: Sequence[Row[Any]]) -> int:
    return sum(row.size or 0 for row in rows)


def _summary(row: Row[Any], data: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "name": row.name,
        "type": row.type,
        "count": row._mapping["count"],
        "last": row.last if data is None else data["value"],
        "last_step": row.last_step,
        "last_at": row.last_at,
        "min": row.min,
        "min_step": row.min_step,
        "max": row.max,
        "max_step": row.max_step,
    }
