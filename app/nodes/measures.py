"""Figures about what nodes report, for Prometheus."""

from prometheus_client import Histogram

from app.kernel.measures import REGISTRY

RUN_WAIT_SECONDS = Histogram(
    "trainwright_run_wait_seconds",
    "Time from a run's entry into the queue to the start of its scripts",
    registry=REGISTRY,
    buckets=(0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600),
)
