"""Figures of this process for Prometheus, and the one registry that they are in."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    ProcessCollector,
    disable_created_metrics,
)

# A second series beside each counter, for nothing that is asked here.
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

HINTS_DROPPED = Counter(
    "trainwright_hints_dropped_total",
    "Hints that were not sent, as the broker was away or too slow; the pollers do their work",
    registry=REGISTRY,
)
