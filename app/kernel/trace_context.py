"""W3C Trace Context: which trace something belongs to, and under which span."""

import re
import secrets
from contextvars import ContextVar
from typing import NamedTuple

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(-.*)?"
)
_SAMPLED = 0x01


class TraceContext(NamedTuple):
    """A span of a trace."""

    trace_id: str
    span_id: str
    flags: str

    @property
    def traceparent(self) -> str:
        """As it stands in the header ``traceparent``, and in ``TRACEPARENT``."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    @property
    def is_sampled(self) -> bool:
        """Whether whoever began the trace wants its spans to be kept."""
        return bool(int(self.flags, 16) & _SAMPLED)


def parse(traceparent: str) -> TraceContext | None:
    """The span that a ``traceparent`` names; None: it names none."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return found and TraceContext(found["trace"], found["span"], found["flags"])


class RequestTrace:
    """The trace of the request that is being answered: its caller's, or one that it begins.

    Args:
        traceparent: what the caller sent; empty: nothing.
    """

    __slots__ = ("parent", "span")

    def __init__(self, traceparent: str) -> None:
        self.parent = parse(traceparent) if traceparent else None
        self.span: TraceContext | None = None
        if self.parent is not None:
            self.span = self.parent._replace(span_id=secrets.token_hex(8))


_request: ContextVar[RequestTrace | None] = ContextVar("request_trace", default=None)


def enter(trace: RequestTrace) -> None:
    """From now on, this task answers the request of that trace."""
    _request.set(trace)


def of_this_work() -> TraceContext:
    """The span that present work belongs to: of the request, or the first of a new trace."""
    request = _request.get()
    if request is not None and request.span is not None:
        return request.span
    span = TraceContext(secrets.token_hex(16), secrets.token_hex(8), f"{_SAMPLED:02x}")
    if request is not None:
        request.span = span
    return span
