"""Figures about predictions, for Prometheus, and a line in the log for each."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from prometheus_client import Counter, Histogram

from app.deployments.repository import Target
from app.kernel.errors import DomainError
from app.kernel.measures import REGISTRY

_LABELS = ["workspace_id", "deployment", "version", "role"]
_PREDICTIONS = Counter(
    "trainwright_predictions_total",
    "Answered predictions, by deployment, model version, role (live or shadow) and status",
    [*_LABELS, "status"],
    registry=REGISTRY,
)
_SECONDS = Histogram(
    "trainwright_prediction_seconds",
    "Time from a prediction's arrival at the router to its answer",
    _LABELS,
    registry=REGISTRY,
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
_log = structlog.get_logger(__name__)


@dataclass
class Measure:
    """What is known of an answer when it is there.

    Attributes:
        version: of the model that answered.
        is_shadow: whether it is that of a copy.
        status: of the answer; 499: its caller went away.
        seconds: until the answer; known when the block has ended.
    """

    version: str
    is_shadow: bool
    status: int = 499
    seconds: float = 0.0


@contextmanager
def measured(target: Target, *, is_shadow: bool) -> Iterator[Measure]:
    """Count the block as one prediction of this deployment; the block notes the answer."""
    row = target.deployment
    measure = Measure(str(target.model_version), is_shadow)
    began = time.perf_counter()
    try:
        yield measure
    except DomainError as error:
        measure.status = error.status
        raise
    finally:
        seconds = measure.seconds = time.perf_counter() - began
        role = "shadow" if is_shadow else "live"
        labels = (row.workspace_id, row.name, measure.version, role)
        _PREDICTIONS.labels(*labels, str(measure.status)).inc()
        _SECONDS.labels(*labels).observe(seconds)
        _log.info(
            "prediction",
            deployment=row.name,
            version=measure.version,
            role=role,
            status=measure.status,
            seconds=round(seconds, 6),
        )
