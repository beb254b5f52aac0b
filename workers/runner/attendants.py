"""The threads that attend a node's processes while these run."""

from __future__ import annotations

import os
from typing import List, Union

from workers.runner.api import Endpoint
from workers.runner.checkpoints import CheckpointKeeper
from workers.runner.events import EventSender
from workers.runner.host_metrics import HostMetrics
from workers.runner.notes import Notes
from workers.runner.order import Order
from workers.runner.readiness import ReadinessPoller

Attendant = Union[CheckpointKeeper, HostMetrics, ReadinessPoller]


def make_attendants(
    order: Order, endpoint: Endpoint, *, work_dir: str, events: EventSender, notes: Notes
) -> List[Attendant]:
    """Make those that the order asks for, before the processes start: they know what was there.

    Start them when the processes run, and close them when these have ended.

    Args:
        order: what it asks for.
        endpoint: the control plane.
        work_dir: the scripts' folder, in that of the node.
        events: tells that a serving process is ready.
        notes: takes what went wrong.
    """
    found: List[Attendant] = []
    if order.checkpoints is not None:
        folder = order.checkpoints
        held_dir = os.path.join(os.path.dirname(work_dir), "held")
        keeper = CheckpointKeeper(
            endpoint, work_dir=work_dir, folder=folder, held_dir=held_dir, notes=notes
        )
        found.append(keeper)
    if order.readiness is not None:
        control = endpoint.control
        poller = ReadinessPoller(order.readiness, work_dir=work_dir, events=events, control=control)
        found.append(poller)
    if order.host_metrics_seconds is not None:
        seconds = order.host_metrics_seconds
        found.append(HostMetrics(endpoint, interval_seconds=seconds, folder=work_dir))
    return found
