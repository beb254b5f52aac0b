"""Why metrics have no curve: pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from app.metrics.schemas import MetricPoint, MetricRead
from app.pictures.errors import NothingToPlot
from app.pictures.spec import LARGEST
from app.pictures.texts import label

Along = Literal["auto", "step", "epoch", "time"]
Undrawn = Mapping[str, Sequence[str]]
"""Names of metrics by the reason why they have no curve."""

_NO_NUMBER = "no number"
_NO_COUNT: dict[Along, str] = {"step": "no value has a step", "epoch": "no value has an epoch"}
_UNKNOWN = "no metric named"
_MOST_NAMES = 5


def number_of(point: MetricPoint) -> float | None:
    """The value, if it is a number that an axis can have."""
    return float(point.value) if _is_number(point) and abs(point.value) < LARGEST else None


def count_along(point: MetricPoint, axis: Along) -> int | None:
    """The step or the epoch of a value."""
    return point.step if axis == "step" else point.epoch


def why_undrawn(metric: MetricRead, along: Along) -> str:
    """The reason why a metric has no curve; empty: it has one."""
    if metric.type != "scalar":
        return _NO_NUMBER
    if not metric.points:
        return "no value of these steps and times"
    drawable = [point for point in metric.points if number_of(point) is not None]
    if not drawable:
        is_large = any(map(_is_number, metric.points))
        return f"too large to draw (beyond ±{LARGEST:g})" if is_large else "no finite number"
    if along in _NO_COUNT and all(count_along(point, along) is None for point in drawable):
        return _NO_COUNT[along]
    return ""


def undrawn(metrics: Iterable[MetricRead], names: Sequence[str], along: Along) -> Undrawn:
    """The metrics that have no curve.

    Args:
        metrics: of one run or of several; one that is drawn for any of them has a curve.
        names: that were asked for; empty: all.
        along: what stands along x.
    """
    reasons: dict[str, str] = dict.fromkeys(names, _UNKNOWN)
    for metric in metrics:
        if reasons.get(metric.name) != "":
            reasons[metric.name] = why_undrawn(metric, along)
    found: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        if reason:
            found.setdefault(reason, []).append(name)
    return found


def notes(undrawn: Undrawn, names: Sequence[str]) -> list[str]:
    """What a picture says below of what it does not show.

    Args:
        undrawn: the metrics that have no curve.
        names: that were asked for; empty: all, and nobody looks for texts and tables here.
    """
    return [
        _note(reason, of_reason)
        for reason, of_reason in undrawn.items()
        if names or reason != _NO_NUMBER
    ]


def nothing_to_plot(undrawn: Undrawn) -> NothingToPlot:
    """The error where no metric has a curve."""
    reasons = [_note(reason, names) for reason, names in undrawn.items()] or ["no metrics"]
    is_elsewhere = any(reason in undrawn for reason in _NO_COUNT.values())
    return NothingToPlot(
        f"There is nothing to draw here: {'; '.join(reasons)}. "
        + (
            "Leave x out, or ask for x=time."
            if is_elsewhere
            else "GET …/metrics/summary has what there is."
        )
    )


def _note(reason: str, names: Sequence[str]) -> str:
    told = ", ".join(f"'{label(name)}'" for name in names[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{reason}{'' if reason == _UNKNOWN else ':'} {told}{more}"


def _is_number(point: MetricPoint) -> bool:
    return isinstance(point.value, int | float) and not isinstance(point.value, bool)
