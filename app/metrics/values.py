"""Logged values in the form in which they are stored: pure functions."""

import math
from datetime import UTC, datetime
from typing import Any

from app.kernel.clock import utc_now
from app.kernel.plain_text import mended
from app.metrics.schemas import MetricRecord
from app.metrics.writing import Point

_DEEPEST = 50
_DOCUMENTS = frozenset({"confusion_matrix", "accuracy_table", "residuals", "predictions"})


def point(seq: int, record: MetricRecord) -> Point:
    """The row of a record.

    Args:
        seq: its number among those of its source.
        record: what was logged; its time is now when it has none.
    """
    time = record.time
    logged_at = utc_now() if time is None else datetime.fromtimestamp(time, UTC)
    made: Point = {
        "seq": seq,
        "name": mended(record.name),
        "type": record.type,
        "step": record.step,
        "epoch": record.epoch,
        "logged_at": logged_at,
    }
    value = _as_float(record.value) if record.type == "scalar" else record.value
    number = _finite(value) if record.type == "scalar" else None
    if number is None:
        made["data"] = {"value": _storable(value)}
        made["type"] = _kind(record)
    else:
        made["value"] = number
    return made


def _kind(record: MetricRecord) -> str:
    """The type; v1 documents that say in themselves what they are, are that."""
    if record.type == "json" and isinstance(record.value, dict):
        found = record.value.get("schema_type")
        if isinstance(found, str) and found in _DOCUMENTS:
            return found
    return record.type


def _as_float(value: Any) -> Any:
    """A number as clients compute with it: whole ones that no float holds are infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _finite(value: Any) -> float | None:
    return value if isinstance(value, float) and math.isfinite(value) else None


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
