"""Spans, as they are told to a collector when they have ended; off unless one is set."""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from app.kernel.config import Settings

Service = Literal["api", "worker", "runner"]


@dataclass(frozen=True, kw_only=True)
class Span:
    """Something that took time, with the times at which it began and ended.

    Attributes:
        span_id: 16 hexadecimal digits; the same span told twice has the same.
        parent_id: of the span that it is part of; empty: of none.
        service: whose work it was.
        error: why it failed; empty: it did not.
    """

    name: str
    span_id: str
    parent_id: str
    started_at: datetime
    ended_at: datetime
    service: Service
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    error: str = ""


class Tracing(Protocol):
    """Where spans go. Nothing is waited for; what a collector does not take is dropped."""

    def tell(self, trace_id: str, spans: Iterable[Span]) -> None:
        """Send these soon, best effort."""

    def close(self) -> None:
        """Send what is left, for a moment, and stop."""


def make_tracing(settings: Settings) -> Tracing | None:
    """The collector that the settings name; None: they name none."""
    if not settings.traces_url:
        return None
    # Loaded by those who need it: a quarter of a second, and some megabytes.
    otlp = importlib.import_module("app.kernel.otlp")
    tracing: Tracing = otlp.OtlpTracing(settings.traces_url)
    return tracing
