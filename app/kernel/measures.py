"""Figures of this process for Prometheus, and the one registry that they are in."""

from prometheus_client import CollectorRegistry, Counter, ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

HINTS_DROPPED = Counter(
    "trainwright_hints_dropped_total",
    "Hints that were not sent, as the broker was away or too slow; the pollers do their work",
    registry=REGISTRY,
)
