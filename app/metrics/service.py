"""Writing and reading of metrics."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.clock import utc_now
from app.kernel.plain_text import mended
from app.metrics.schemas import MetricList, MetricPoint, MetricRead, MetricRecord
from app.tables.metric import Metric

_DEEPEST = 50


async def store(
    session: AsyncSession,
    *,
    run_id: str,
    attempt: int,
    source: str,
    numbered: Sequence[tuple[int, MetricRecord]],
) -> None:
    """Store values; one that is stored already (same source and number) is left alone.

    Args:
        session: the transaction.
        run_id: the run.
        attempt: the attempt that logged them.
        source: who sends.
        numbered: values with their sequence numbers.
    """
    if not numbered:
        return
    rows = [
        {
            "run_id": run_id,
            "attempt": attempt,
            "source": source,
            "seq": seq,
            "name": record.name,
            "type": record.type,
            "step": record.step,
            "epoch": record.epoch,
            "logged_at": _time(record.time),
            **_columns(record),
        }
        for seq, record in numbered
    ]
    await session.execute(insert(Metric).values(rows).on_conflict_do_nothing())


async def read(
    session: AsyncSession, *, run_id: str, attempt: int, name: str | None = None
) -> MetricList:
    """The metrics of an attempt, by name."""
    columns = (
        Metric.name,
        Metric.type,
        Metric.step,
        Metric.epoch,
        Metric.logged_at,
        Metric.value,
        Metric.data,
    )
    statement = select(*columns).where(Metric.run_id == run_id, Metric.attempt == attempt)
    if name is not None:
        statement = statement.where(Metric.name == name)
    statement = statement.order_by(Metric.name, Metric.logged_at, Metric.source, Metric.seq)
    found: dict[str, MetricRead] = {}
    for row in await session.execute(statement):
        value = row.value if row.data is None else row.data["value"]
        point = MetricPoint(value=value, step=row.step, epoch=row.epoch, logged_at=row.logged_at)
        metric = found.get(row.name)
        if metric is None:
            metric = found[row.name] = MetricRead(
                name=row.name, type=row.type, last=value, points=[]
            )
        metric.points.append(point)
        metric.last = value
        if row.value is not None:
            metric.min = row.value if metric.min is None else min(metric.min, row.value)
            metric.max = row.value if metric.max is None else max(metric.max, row.value)
    return MetricList(items=list(found.values()))


def _time(seconds: float | None) -> datetime:
    return utc_now() if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _columns(record: MetricRecord) -> dict[str, Any]:
    value = record.value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if record.type == "scalar" and is_number and math.isfinite(value):
        return {"value": float(value), "data": None}
    return {"value": None, "data": {"value": _storable(value)}}


def _storable(value: Any, depth: int = 0) -> Any:
    # JSON has no NaN and no infinity; the database takes no NUL and no half a surrogate pair.
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return mended(value)
    if isinstance(value, list):
        return [_storable(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item, depth + 1) for key, item in value.items()}
    return value
