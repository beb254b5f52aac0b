"""The threads that attend a node's processes while these run."""

from __future__ import annotations

from typing import List, Union

from workers.runner.api import Endpoint
from workers.runner.events import EventSender
from workers.runner.host_metrics import HostMetrics
from workers.runner.order import Order
from workers.runner.readiness import ReadinessPoller

Attendant = Union[HostMetrics, ReadinessPoller]


def start_attendants(
    order: Order, endpoint: Endpoint, *, work_dir: str, events: EventSender
) -> List[Attendant]:
    """Start those that the order asks for; close them when the processes have ended.

    Args:
        order: what it asks for.
        endpoint: the control plane.
        work_dir: the scripts' folder.
        events: tells that a serving process is ready.
    """
    found: List[Attendant] = []
    if order.readiness is not None:
        control = endpoint.control
        poller = ReadinessPoller(order.readiness, work_dir=work_dir, events=events, control=control)
        found.append(poller)
    if order.host_metrics_seconds is not None:
        seconds = order.host_metrics_seconds
        found.append(HostMetrics(endpoint, interval_seconds=seconds, folder=work_dir))
    for attendant in found:
        attendant.start()
    return found
