"""What a run's nodes used: which lines, in which panels, in which units; pure functions."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from app.metrics.schemas import MetricRead
from app.pictures.errors import NothingToPlot
from app.pictures.spec import Line, Panel

NAMESPACE = "host"
MOST_NODES = 20
_NAME = re.compile(r"node(\d+)\.(?:(gpu\d+)\.)?(.+)")
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


class _Kind(NamedTuple):
    """A panel.

    Attributes:
        title: of it.
        measures: which it shows, the first solid, then dashed; after each, what it is called.
        unit: of the values; ``bytes`` and ``bytes/s`` are shown in what is readable.
        divisor: of the values.
    """

    title: str
    measures: tuple[tuple[str, str], ...]
    unit: str
    divisor: float = 1.0


_KINDS = (
    _Kind("Processor", (("cpu_percent", ""),), "cores", 100.0),
    _Kind("Memory", (("memory_bytes", ""),), "bytes"),
    _Kind("GPU", (("gpu.utilization_percent", ""),), "%"),
    _Kind("GPU memory", (("gpu.memory_bytes", ""),), "bytes"),
    _Kind("GPU temperature", (("gpu.temperature_celsius", ""),), "°C"),
    _Kind("GPU power", (("gpu.power_watts", ""),), "W"),
    _Kind(
        "Network",
        (
            ("network_received_bytes_per_second", "received"),
            ("network_sent_bytes_per_second", "sent"),
        ),
        "bytes/s",
    ),
    _Kind(
        "Disk",
        (
            ("disk_read_bytes_per_second", "read"),
            ("disk_written_bytes_per_second", "written"),
        ),
        "bytes/s",
    ),
    _Kind("Processors of the machine", (("machine.cpu_percent", ""),), "% of all"),
    _Kind("Free memory of the machine", (("machine.memory_available_bytes", ""),), "bytes"),
)


def of_nodes(
    metrics: Sequence[MetricRead], began_at: datetime | None, *, is_over: bool = False
) -> tuple[list[Panel], str]:
    """Panels of what the nodes measured, and what was left out.

    Args:
        metrics: that the nodes measured.
        began_at: when the run began; None: with the first value.
        is_over: whether nothing more will be measured.

    Raises:
        NothingToPlot: nothing was measured.
    """
    found: dict[str, list[tuple[int, str, MetricRead]]] = {}
    nodes: set[int] = set()
    for metric in metrics:
        match = _NAME.fullmatch(metric.name)
        if match is None or not metric.points:
            continue
        measure = f"gpu.{match[3]}" if match[2] else match[3]
        nodes.add(int(match[1]))
        found.setdefault(measure, []).append((int(match[1]), match[2] or "", metric))
    if not nodes:
        yet = "" if is_over else " yet"
        raise NothingToPlot(f"Nothing was measured{yet}; nodes measure while the scripts run.")
    shown = sorted(nodes)[:MOST_NODES]
    began_at = began_at or min(m.points[0].logged_at for m in metrics if m.points)
    panels = [panel for kind in _KINDS if (panel := _panel(kind, found, shown, began_at))["lines"]]
    left_out = f"{MOST_NODES} of {len(nodes)} nodes" if len(nodes) > MOST_NODES else ""
    return panels, left_out


def _panel(
    kind: _Kind,
    found: dict[str, list[tuple[int, str, MetricRead]]],
    nodes: Sequence[int],
    began_at: datetime,
) -> Panel:
    lines = []
    unit, per = _unit(kind, found)
    for dash, (measure, _) in enumerate(kind.measures):
        for node, gpu, metric in found.get(measure, []):
            if node not in nodes:
                continue
            points = sorted(metric.points, key=lambda point: point.logged_at)
            lines.append(
                Line(
                    label=f"node {node} {gpu}".rstrip(),
                    colour=nodes.index(node),
                    dash=dash or (int(gpu[3:]) if gpu else 0),
                    x=[(point.logged_at - began_at).total_seconds() for point in points],
                    y=[float(point.value) / per for point in points],
                )
            )
    words = " (solid), ".join(word for _, word in kind.measures if word)
    return Panel(
        title=f"{kind.title}: {words} (dashed)" if words else kind.title,
        x_label="",
        y_label=unit,
        from_zero=True,
        log_x=False,
        log_y=False,
        lines=lines,
    )


def _unit(kind: _Kind, found: dict[str, list[tuple[int, str, MetricRead]]]) -> tuple[str, float]:
    if not kind.unit.startswith("bytes"):
        return kind.unit, kind.divisor
    largest = max(
        (
            metric.max or 0.0
            for measure, _ in kind.measures
            for _, _, metric in found.get(measure, [])
        ),
        default=0.0,
    )
    for unit, per in _UNITS:
        if largest >= per:
            return kind.unit.replace("bytes", unit), per
    return kind.unit, 1.0
