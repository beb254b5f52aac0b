"""Lines as plain text for people, and as JSON records for programs."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from app.kernel.json import json_bytes
from app.logs.lines import MAX_LINE_BYTES, shown
from app.logs.view import Shown

TEXT = "text/plain; charset=utf-8"
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
SSE_KEEP_ALIVE = b": still here\n\n"
SSE_END = b"event: end\ndata: {}\n\n"

Format = Callable[[Sequence[Shown]], bytes]


def plain(batch: Sequence[Shown]) -> bytes:
    """The bytes of the lines as they were written."""
    return b"".join(_ended(item) for item in batch)


def plain_with_times(batch: Sequence[Shown]) -> bytes:
    """The same with the time before each line."""
    return b"".join(_time(item).encode() + b" " + _ended(item) for item in batch)


def ndjson(batch: Sequence[Shown]) -> bytes:
    """One JSON record a line."""
    return b"".join(json_bytes(_record(item)) for item in batch)


def sse(batch: Sequence[Shown]) -> bytes:
    """Events whose ids resume the stream behind them."""
    return b"".join(
        b"id: %b\ndata: %b\n" % (item.cursor.encode(), json_bytes(_record(item))) for item in batch
    )


def _ended(item: Shown) -> bytes:
    # A piece of a long line goes on where it was cut.
    is_cut = item.line.continues and len(item.line.data) == MAX_LINE_BYTES
    return item.line.data if is_cut else item.line.data + b"\n"


def _time(item: Shown) -> str:
    moment = datetime.fromtimestamp(item.line.millis / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _record(item: Shown) -> dict[str, Any]:
    record = {
        "id": item.cursor,
        "time": _time(item),
        "stream": item.stream.name,
        "attempt": item.stream.attempt,
        "node": item.stream.node_index,
        "offset": item.line.offset,
        "text": shown(item.line.data),
    }
    if item.line.continues:
        record["continues"] = True
    return record
