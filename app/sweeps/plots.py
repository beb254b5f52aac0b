"""What the plots of a sweep show; pure."""

from collections.abc import Collection, Sequence
from typing import Any

from pydantic import BaseModel, Field

from app.pictures.spec import LARGEST, Bars, Line, Panel, Parallel, ParallelAxis
from app.pictures.texts import label
from app.sweeps.distributions import (
    Choice,
    Distribution,
    RandInt,
    Space,
    Value,
    coordinate_of,
    value_at,
)
from app.sweeps.policies import Goal

_TICKS = 5
_MOST_CHOICES = 12
_LONG = 1_000_000
"""Whole numbers from here on are told to four digits."""


class ProgressPoint(BaseModel):
    """A trial along the way of a sweep."""

    trial: int
    run_id: str | None
    value: float
    best_value: float = Field(description="Of this trial and those before it")


class ParallelTrial(BaseModel):
    """A trial in parallel coordinates."""

    trial: int
    run_id: str | None
    parameters: dict[str, Value]
    value: float


class ProgressPlot(BaseModel):
    """The value of each trial, and the best so far."""

    primary_metric: str
    goal: Goal
    points: list[ProgressPoint]


class ParallelPlot(BaseModel):
    """Each trial as a line across its parameters to its value."""

    primary_metric: str
    goal: Goal
    parameters: list[str]
    trials: list[ParallelTrial]


class ImportancePlot(BaseModel):
    """How much each parameter matters."""

    primary_metric: str
    trials_count: int = Field(description="That were compared")
    importances: dict[str, float] = Field(
        description="The part of the variance of the values' ranks that each parameter alone "
        "explains; in sum 1, or 0 each where nothing varies"
    )
    left_out: list[str] = Field(
        description="Parameters that not every trial has, because they depend on a choice"
    )


def progress(metric: str, goal: Goal, trials: Sequence[Any]) -> ProgressPlot:
    """The data of the plot of progress; trials by number, each with a value."""
    better = max if goal == "maximize" else min
    points: list[ProgressPoint] = []
    for trial in trials:
        best = better(points[-1].best_value, trial.value) if points else trial.value
        points.append(
            ProgressPoint(
                trial=trial.number, run_id=trial.run_id, value=trial.value, best_value=best
            )
        )
    return ProgressPlot(primary_metric=metric, goal=goal, points=points)


def parallel(metric: str, goal: Goal, space: Space, trials: Sequence[Any]) -> ParallelPlot:
    """The data of the parallel coordinates; trials have a value."""
    return ParallelPlot(
        primary_metric=metric,
        goal=goal,
        parameters=sorted(space),
        trials=[
            ParallelTrial(
                trial=trial.number,
                run_id=trial.run_id,
                parameters=trial.parameters,
                value=trial.value,
            )
            for trial in trials
        ],
    )


def places(space: Space, trials: Sequence[Any]) -> list[dict[str, float | int]]:
    """Of each trial the parameters that all have, as `app.sweeps.importance` takes them."""
    shared = set(space).intersection(*(trial.parameters for trial in trials))
    return [
        {name: _place(space[name], trial.parameters[name]) for name in sorted(shared)}
        for trial in trials
    ]


def _place(distribution: Distribution, value: Value) -> float | int:
    place = coordinate_of(distribution, value) or 0.0
    if isinstance(distribution, Choice):
        return min(int(place * len(distribution.values)), len(distribution.values) - 1)
    return place


def progress_panel(plot: ProgressPlot, failed: Collection[int]) -> Panel:
    """The picture of progress.

    Args:
        plot: its data.
        failed: numbers of the trials whose runs failed, which are marked.
    """
    x = [float(point.trial) for point in plot.points]
    values = [_drawable(point.value) for point in plot.points]
    best = [_drawable(point.best_value) for point in plot.points]
    lines = [
        Line(label="trial", colour=8, dash=2, x=x, y=values),
        Line(label="best", colour=0, dash=0, x=x, y=best),
    ]
    marked = [point for point in plot.points if point.trial in failed]
    if marked:
        lines.append(
            Line(
                label="failed",
                colour=1,
                dash=0,
                x=[float(point.trial) for point in marked],
                y=[_drawable(point.value) for point in marked],
                is_crosses=True,
            )
        )
    return Panel(
        title=label(plot.primary_metric),
        x_label="trial",
        y_label="",
        from_zero=False,
        log_x=False,
        log_y=False,
        lines=lines,
    )


def _drawable(value: float) -> float | None:
    return value if abs(value) < LARGEST else None


def parallel_picture(plot: ParallelPlot, space: Space) -> Parallel:
    """The picture of parallel coordinates; the last axis is the metric."""
    values = [max(-LARGEST, min(trial.value, LARGEST)) for trial in plot.trials]
    low, high = min(values), max(values)
    width = (high - low) or 1.0
    scaled = [(value - low) / width for value in values]
    axes = [_axis(name, space[name]) for name in plot.parameters]
    axes.append(
        ParallelAxis(
            label=label(plot.primary_metric, longest=20),
            ticks=[
                (place / (_TICKS - 1), f"{low + place / (_TICKS - 1) * width:.4g}")
                for place in range(_TICKS)
            ],
        )
    )
    return Parallel(
        axes=axes,
        lines=[
            [*(_height(space[name], trial.parameters.get(name)) for name in plot.parameters), y]
            for trial, y in zip(plot.trials, scaled, strict=True)
        ],
        shades=[y if plot.goal == "maximize" else 1 - y for y in scaled],
        shade_label=f"{plot.goal} {label(plot.primary_metric)}: yellow is good",
    )


def _height(distribution: Distribution, value: Value | None) -> float | None:
    return None if value is None else coordinate_of(distribution, value)


def _axis(name: str, distribution: Distribution) -> ParallelAxis:
    # Where the trials with this value are, which is not quite where it was looked for.
    ticks = {
        coordinate_of(distribution, value) or 0.0: _text(distribution, value)
        for value in _ticked(distribution)
    }
    return ParallelAxis(label=label(name, longest=20), ticks=list(ticks.items()))


def _ticked(distribution: Distribution) -> Sequence[Value]:
    """The values that are named along an axis."""
    if isinstance(distribution, Choice):
        return distribution.values[:_MOST_CHOICES]
    if isinstance(distribution, RandInt) and distribution.upper <= _MOST_CHOICES:
        return range(distribution.upper)
    # The ends of a bell are infinitely far away.
    first, last = (0.01, 0.99) if hasattr(distribution, "sigma") else (0.0, 1 - 1e-9)
    quantiles = [number / (_TICKS - 1) for number in range(_TICKS)]
    return [value_at(distribution, min(max(place, first), last)) for place in quantiles]


def _text(distribution: Distribution, value: Value) -> str:
    if isinstance(distribution, Choice):
        return label(str(value), longest=12)
    is_short = isinstance(value, int) and abs(value) < _LONG
    return str(value) if is_short else f"{value:.4g}"


def importance_bars(plot: ImportancePlot) -> Bars:
    """The picture of importance."""
    found = sorted(plot.importances.items(), key=lambda pair: -pair[1])
    said = f"part of what changes {label(plot.primary_metric)}"
    if plot.left_out:
        said += f"; not compared: {label(', '.join(plot.left_out), longest=60)}"
    return Bars(
        labels=[label(name, longest=30) for name, _ in found],
        lengths=[share for _, share in found],
        x_label=said,
    )
