"""Learning curves: which lines, in which panels; pure functions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from app.metrics.schemas import MetricPoint, MetricRead
from app.pictures.spec import Line, Panel
from app.pictures.texts import label
from app.pictures.undrawn import (
    Along,
    count_along,
    notes,
    nothing_to_plot,
    number_of,
    undrawn,
    why_undrawn,
)

MOST_PANELS = 12
MOST_LINES = 20
_TOGETHER = ("train_", "training_", "val_", "valid_", "validation_", "test_", "eval_")
"""What stands before the name of a metric, and says on which data it is measured."""

Log = Literal["none", "x", "y", "both"]


class Curves(NamedTuple):
    """The metrics of a run.

    Attributes:
        name: of the run, for the legend.
        began_at: where its time begins, if not at its first value.
        metrics: with their values.
    """

    name: str
    began_at: datetime | None
    metrics: Sequence[MetricRead]


def of_run(
    curves: Curves, *, along: Along, log: Log, names: Sequence[str] = ()
) -> tuple[list[Panel], str]:
    """Panels of one run's metrics, and what was left out; training and validation in one panel.

    Args:
        curves: of the run.
        along: what stands along x.
        log: which axes are logarithmic.
        names: that were asked for; empty: all.

    Raises:
        NothingToPlot: no metric is a number, or none has what is to stand along x.
    """
    groups: dict[str, list[MetricRead]] = {}
    for metric in curves.metrics:
        if not why_undrawn(metric, along):
            groups.setdefault(_family(metric.name), []).append(metric)
    without = undrawn(curves.metrics, names, along)
    if not groups:
        raise nothing_to_plot(without)
    panels = []
    for family, metrics in list(groups.items())[:MOST_PANELS]:
        name = family if len(metrics) > 1 else metrics[0].name
        axis = _axis(metrics, along)
        lines = [
            _line(label(metric.name), number, metric.points, axis, curves.began_at)
            for number, metric in enumerate(metrics[:MOST_LINES])
        ]
        panels.append(_panel(name, axis, log, lines))
    return panels, _left_out(len(groups), notes(without, names))


def of_runs(
    runs: Sequence[Curves], *, along: Along, log: Log, names: Sequence[str] = ()
) -> tuple[list[Panel], str]:
    """A panel for each metric, a colour for each run, and what was left out.

    Args:
        runs: with their curves.
        along, log, names: as of `of_run`.

    Raises:
        NothingToPlot: no metric is a number, or none has what is to stand along x.
    """
    by_name: dict[str, dict[int, MetricRead]] = {}
    for number, run in enumerate(runs):
        for metric in run.metrics:
            if not why_undrawn(metric, along):
                by_name.setdefault(metric.name, {})[number] = metric
    without = undrawn((metric for run in runs for metric in run.metrics), names, along)
    if not by_name:
        raise nothing_to_plot(without)
    panels = []
    for name, of_name in sorted(by_name.items())[:MOST_PANELS]:
        axis = _axis(list(of_name.values()), along)
        lines = [
            _line(label(runs[number].name), number, metric.points, axis, runs[number].began_at)
            for number, metric in of_name.items()
        ]
        panels.append(_panel(name, axis, log, lines))
    return panels, _left_out(len(by_name), notes(without, names))


def _family(name: str) -> str:
    for prefix in _TOGETHER:
        if name.startswith(prefix) and len(name) > len(prefix):
            return name.removeprefix(prefix)
    return name


def _axis(metrics: Sequence[MetricRead], along: Along) -> Along:
    """What stands along x: steps where all values have one, else time."""
    if along != "auto":
        return along
    points = [point for metric in metrics for point in metric.points]
    return "step" if all(point.step is not None for point in points) else "time"


def _line(
    name: str,
    colour: int,
    points: Sequence[MetricPoint],
    axis: Along,
    began_at: datetime | None,
) -> Line:
    first = min(point.logged_at for point in points)
    origin = min(began_at or first, first)
    placed = sorted(
        (
            (x, number_of(point))
            for point in points
            if (x := _place(point, axis, origin)) is not None
        ),
        key=lambda pair: pair[0],
    )
    return Line(
        label=name,
        colour=colour,
        dash=0,
        x=[x for x, _ in placed],
        y=[y for _, y in placed],
    )


def _place(point: MetricPoint, axis: Along, origin: datetime) -> float | None:
    if axis == "time":
        return (point.logged_at - origin).total_seconds()
    found = count_along(point, axis)
    return None if found is None else float(found)


def _panel(name: str, axis: Along, log: Log, lines: list[Line]) -> Panel:
    return Panel(
        title=label(name),
        x_label="" if axis == "time" else axis,
        y_label="",
        from_zero=False,
        log_x=log in ("x", "both"),
        log_y=log in ("y", "both"),
        lines=lines,
    )


def _left_out(count: int, undrawn: Sequence[str]) -> str:
    most = [f"{MOST_PANELS} of {count} metrics; name=… chooses"] if count > MOST_PANELS else []
    return "; ".join([*most, *undrawn])
