"""Spans over OTLP, by OpenTelemetry's SDK; headers, compression and batches are its variables'."""

import threading
from collections.abc import Iterable
from datetime import datetime

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from app.kernel.tracing import Service, Span

_CLOSE_SECONDS = 2.0
_SERVICES: tuple[Service, ...] = ("api", "worker", "runner")


class _Given(IdGenerator):
    """Ids that were chosen before: they stand in rows, and with the scripts."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class OtlpTracing:
    """Sends spans from a thread of its own.

    Args:
        url: where the collector takes traces.
    """

    def __init__(self, url: str) -> None:
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=url))
        self._ids = _Given()
        self._lock = threading.Lock()
        self._tracers = {service: self._tracer(service) for service in _SERVICES}

    def tell(self, trace_id: str, spans: Iterable[Span]) -> None:
        """Send these soon, best effort."""
        with self._lock:
            for span in spans:
                self._tell(int(trace_id, 16), span)

    def close(self) -> None:
        """Send what is left, for a moment, and stop."""
        # A collector that does not answer would hold up the end of the process.
        closing = threading.Thread(target=self._processor.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def _tracer(self, service: Service):  # type: ignore[no-untyped-def]  # noqa: ANN202
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create({SERVICE_NAME: f"trainwright-{service}"}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self._processor)
        return provider.get_tracer("trainwright")

    def _tell(self, trace_id: int, span: Span) -> None:
        self._ids.trace_id = trace_id
        self._ids.span_id = int(span.span_id, 16)
        parent = SpanContext(
            trace_id, int(span.parent_id or "0", 16), is_remote=True, trace_flags=TraceFlags(1)
        )
        made = self._tracers[span.service].start_span(
            span.name,
            context=set_span_in_context(NonRecordingSpan(parent)),
            attributes=dict(span.attributes),
            start_time=_nanoseconds(span.started_at),
        )
        if span.error:
            made.set_status(Status(StatusCode.ERROR, span.error))
        made.end(max(_nanoseconds(span.started_at), _nanoseconds(span.ended_at)))


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
