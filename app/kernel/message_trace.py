"""The way of a message over the broker, as a span of the trace that it belongs to."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

from app.kernel.clock import utc_now
from app.kernel.hints import Hint
from app.kernel.trace_context import parse
from app.kernel.tracing import Span, Tracing

_PARENT = "traceparent"
_SENT = "sent_at"


def headers_of(hint: Hint) -> dict[str, str]:
    """What the message of a hint carries beside its content; older workers look past it."""
    if not hint.traceparent:
        return {}
    return {_PARENT: hint.traceparent, _SENT: utc_now().isoformat()}


def tell_message(
    tracing: Tracing | None, header: Callable[[str], Any], *, topic: str, row_id: str
) -> None:
    """Tell the span of a message that has just come, if it belongs to a trace that is kept.

    Args:
        tracing: who is told; None: nobody.
        header: what the message carries under a name; None: nothing.
        topic: table of the row that the message is about.
        row_id: the row.
    """
    traceparent, sent_at = header(_PARENT), header(_SENT)
    if tracing is None or not traceparent or not sent_at:
        return
    parent = parse(str(traceparent))
    if parent is None or not parent.is_sampled:
        return
    span = Span(
        name="message",
        span_id=secrets.token_hex(8),
        parent_id=parent.span_id,
        started_at=datetime.fromisoformat(sent_at),
        ended_at=utc_now(),
        service="worker",
        attributes={"trainwright.table": topic, "trainwright.row.id": row_id},
    )
    tracing.tell(parent.trace_id, [span])
