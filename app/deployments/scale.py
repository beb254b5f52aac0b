"""How many replicas a load needs. Pure."""

import math
from dataclasses import dataclass

from app.deployments.schemas import Autoscale

SCALE_CHECK_SECONDS = 2.0


@dataclass(frozen=True)
class Scaled:
    """What a load means.

    Attributes:
        count: of replicas from now on.
        is_busy: whether as many as there are, or more, are needed now.
    """

    count: int
    is_busy: bool


def scale(rule: Autoscale, *, count: int, concurrency: float, quiet_seconds: float) -> Scaled:
    """The number of replicas for a load: more at once, fewer only after a quiet time.

    Args:
        rule: the bounds, and how much a replica takes on.
        count: of replicas now.
        concurrency: requests under way at a time, those that wait for a replica included.
        quiet_seconds: since so many replicas were last needed.
    """
    needed = math.ceil(concurrency / rule.target_concurrency)
    wanted = min(max(needed, rule.min_replicas), rule.max_replicas)
    if wanted >= count and needed > 0:
        return Scaled(wanted, is_busy=True)
    if wanted >= count or quiet_seconds < rule.idle_seconds:
        return Scaled(min(max(wanted, count), rule.max_replicas), is_busy=False)
    return Scaled(wanted, is_busy=False)
