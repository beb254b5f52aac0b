"""Figures about the work of this process, for Prometheus."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

from app.kernel.measures import REGISTRY

_RECONCILES = Counter(
    "trainwright_reconciles_total",
    "Looks at a row, by its table and outcome: done, failed, lost or interrupted",
    ["table", "outcome"],
    registry=REGISTRY,
)
_RECONCILE_SECONDS = Histogram(
    "trainwright_reconcile_seconds",
    "How long a look at a row took, with everything that was done for it",
    ["table"],
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
LEASE_LOSSES = Counter(
    "trainwright_lease_losses_total",
    "Results that were dropped, as the row had meanwhile gone or become another worker's",
    ["table"],
    registry=REGISTRY,
)
LEASE_TAKEOVERS = Counter(
    "trainwright_lease_takeovers_total",
    "Leases taken from a worker that had let them run out",
    ["table"],
    registry=REGISTRY,
)
POLLS = Counter(
    "trainwright_polls_total",
    "Looks for due rows, by outcome: done or failed",
    ["outcome"],
    registry=REGISTRY,
)
LAST_POLL = Gauge(
    "trainwright_last_poll_timestamp_seconds",
    "When this worker last looked for due rows and got an answer; 0: not yet",
    registry=REGISTRY,
)
LEAKS_FOUND = Counter(
    "trainwright_leaks_found_total",
    "Nodes, networks and volumes that were found at the provider without an owner",
    ["kind"],
    registry=REGISTRY,
)
LEAKS_REMOVED = Counter(
    "trainwright_leaks_removed_total",
    "Those of them that this worker removed",
    ["kind"],
    registry=REGISTRY,
)
COLLECTIONS_FAILED = Counter(
    "trainwright_collections_failed_total",
    "Regular work beside the rows that failed and is tried again later",
    ["collector"],
    registry=REGISTRY,
)
FREED_BYTES = Counter(
    "trainwright_garbage_freed_bytes_total",
    "Bytes of the object store that nothing referred to, freed by this worker",
    registry=REGISTRY,
)
IMAGE_BUILD_SECONDS = Histogram(
    "trainwright_image_build_seconds",
    "How long builds of environments took, by outcome: ready or failed",
    ["outcome"],
    registry=REGISTRY,
    buckets=(1, 5, 10, 30, 60, 120, 300, 600, 1200, 3600),
)


@contextmanager
def reconciliation(table: str, *, lost: type[Exception]) -> Iterator[None]:
    """Measure a look at a row.

    Args:
        table: that the row is in.
        lost: what is raised when the row has become somebody else's.
    """
    began = time.perf_counter()
    outcome = "interrupted"
    try:
        yield
        outcome = "done"
    except lost:
        outcome = "lost"
        raise
    except Exception:
        outcome = "failed"
        raise
    finally:
        _RECONCILES.labels(table, outcome).inc()
        _RECONCILE_SECONDS.labels(table).observe(time.perf_counter() - began)
