"""Early termination: which trials end before their time; pure functions.

Every value of the primary metric that a trial logs is one interval. A policy is asked about a
trial at an interval that the trial has reached. It compares what the trials that have reached this
interval had logged up to it; what they log later changes nothing.

Bandit, median stopping and truncation selection are those of HyperDrive (Azure Machine Learning,
"Tune hyperparameters", v1); asynchronous successive halving is from Li et al. 2018
(arXiv:1810.05934), Hyperband's brackets from Li et al. 2016 (arXiv:1603.06560).
"""

import math
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Annotated, Literal, Self, assert_never

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.sweeps.slack import slackened

Goal = Literal["maximize", "minimize"]
_LARGEST = 1e300
_Slack = Annotated[float, Field(gt=0, allow_inf_nan=False, le=1e300)]


class _Policy(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _AtIntervals(_Policy):
    evaluation_interval: int = Field(default=1, ge=1, le=1_000_000)
    delay_evaluation: int = Field(default=0, ge=0, le=1_000_000)


class Bandit(_AtIntervals):
    """Ends trials that are further from the best than a slack."""

    type: Literal["bandit"]
    slack_factor: _Slack | None = None
    slack_amount: _Slack | None = None

    @model_validator(mode="after")
    def _one_slack(self) -> Self:
        if (self.slack_factor is None) == (self.slack_amount is None):
            raise ValueError("give either slack_factor or slack_amount")
        return self


class MedianStopping(_AtIntervals):
    """Ends trials whose best value is worse than the median of running averages."""

    type: Literal["median_stopping"]


class TruncationSelection(_AtIntervals):
    """Ends the lowest percentage of an interval."""

    type: Literal["truncation_selection"]
    truncation_percentage: int = Field(ge=1, le=99)
    exclude_finished_jobs: bool = False


class Asha(_Policy):
    """Asynchronous successive halving: at each rung the best 1/reduction_factor go on."""

    type: Literal["asha"]
    min_intervals: int = Field(default=1, ge=1, le=1_000_000, description="Of the first rung")
    reduction_factor: int = Field(default=3, ge=2, le=100)


class Hyperband(_Policy):
    """Brackets of successive halving, which begin at ever later rungs."""

    type: Literal["hyperband"]
    min_intervals: int = Field(default=1, ge=1, le=1_000_000)
    max_intervals: int = Field(ge=1, le=1_000_000, description="How many a whole trial logs")
    reduction_factor: int = Field(default=3, ge=2, le=100)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_intervals > self.max_intervals:
            raise ValueError("min_intervals must be at most max_intervals")
        return self


Policy = Annotated[
    Bandit | MedianStopping | TruncationSelection | Asha | Hyperband, Field(discriminator="type")
]


class Board:
    """What the trials of a sweep have logged, so that it can be compared quickly."""

    def __init__(self, goal: Goal) -> None:
        """Begin with no trial.

        Args:
            goal: which values are good.
        """
        # Inside, more is better whatever the goal, and what is no number is worse than all.
        self._sign = 1.0 if goal == "maximize" else -1.0
        self._bests: dict[int, list[float]] = {}
        self._means: dict[int, list[float]] = {}
        self._over: set[int] = set()

    def add(self, trial: int, values: Iterable[float | None]) -> None:
        """Add values of a trial in the order in which they were logged; None: no number."""
        bests = self._bests.setdefault(trial, [])
        means = self._means.setdefault(trial, [])
        for value in values:
            number = -math.inf if value is None else _clamped(self._sign * value)
            reached = len(bests)
            bests.append(max(bests[-1], number) if bests else number)
            means.append(_mean(means[-1] if means else 0.0, number, count=reached + 1))

    def end(self, trial: int) -> None:
        """Note that a trial is over."""
        self._over.add(trial)

    def is_over(self, trial: int) -> bool:
        """Whether the trial was noted to be over."""
        return trial in self._over

    def reached(self, trial: int) -> int:
        """How many intervals a trial has reached."""
        return len(self._bests.get(trial, ()))

    def bests(self, interval: int) -> dict[int, float]:
        """The best value up to an interval, of each trial that has reached it."""
        return _column(self._bests, interval)

    def means(self, interval: int) -> dict[int, float]:
        """The average of the values up to an interval, of each trial that has reached it."""
        return _column(self._means, interval)

    def shown(self, figure: float) -> float | None:
        """A figure as the script logged it; None: no number."""
        return self._sign * figure if math.isfinite(figure) else None


def _mean(before: float, number: float, *, count: int) -> float:
    """The average with one number more; with one that is none it is worse than all, for good."""
    if math.isinf(before) or math.isinf(number):
        return -math.inf
    return before + (number - before) / count


def _clamped(value: float) -> float:
    return min(max(value, -_LARGEST), _LARGEST)


def _column(rows: dict[int, list[float]], interval: int) -> dict[int, float]:
    return {
        trial: figures[interval - 1] for trial, figures in rows.items() if len(figures) >= interval
    }


class Compared(BaseModel):
    """A trial that was looked at, and its figure."""

    trial: int
    value: float | None = Field(description="null: it had logged what is no number")


class PolicyComparison(BaseModel):
    """What a policy compared for a trial at an interval."""

    policy: str
    interval: int
    value: float | None = Field(description="Of the trial; null: it had logged no number")
    threshold: float | None = Field(description="A trial that is worse ends; null: none is")
    is_ended: bool
    compared: list[Compared] = Field(description="The trials that gave the threshold")


def intervals(policy: Policy, *, after: int, up_to: int) -> Iterator[int]:
    """The intervals at which a policy is asked.

    Args:
        policy: the policy.
        after: the last interval at which it was.
        up_to: how many the trial has reached.
    """
    if isinstance(policy, Asha | Hyperband):
        rung = policy.min_intervals
        while rung <= min(up_to, _last_rung(policy, up_to)):
            if rung > after:
                yield rung
            rung *= policy.reduction_factor
        return
    step = policy.evaluation_interval
    first = max(after + 1, policy.delay_evaluation, step)
    yield from range(math.ceil(first / step) * step, up_to + 1, step)


def _last_rung(policy: Asha | Hyperband, up_to: int) -> int:
    # Who has come to the end of a whole trial saves nothing by being ended.
    return up_to if isinstance(policy, Asha) else policy.max_intervals - 1


def judged(policy: Policy, board: Board, *, trial: int, interval: int) -> PolicyComparison | None:
    """Compare a trial at an interval with the others.

    Args:
        policy: the policy.
        board: what all trials have logged.
        trial: the number of this one; it has reached the interval.
        interval: one of `intervals`.

    Returns:
        What was compared; None: the policy does not look at this trial there.
    """
    figures = board.bests(interval)
    value = figures[trial]
    is_ended: bool | None = None
    match policy:
        case Bandit():
            threshold, is_ended = slackened(
                max(figures.values()), value, factor=policy.slack_factor, amount=policy.slack_amount
            )
        case MedianStopping():
            figures = board.means(interval)
            threshold = median(figures.values())
        case TruncationSelection():
            figures = {
                number: figure
                for number, figure in figures.items()
                if number == trial or not (policy.exclude_finished_jobs and board.is_over(number))
            }
            ended = len(figures) * policy.truncation_percentage // 100
            threshold = _lowest_kept(figures, ended)
        case Asha() | Hyperband():
            bracket = bracket_of(policy, trial)
            if interval < first_rung(policy, bracket):
                return None
            figures = {
                number: figure
                for number, figure in figures.items()
                if bracket_of(policy, number) == bracket
            }
            kept = max(1, len(figures) // policy.reduction_factor)
            threshold = _lowest_kept(figures, len(figures) - kept)
        case _:
            assert_never(policy)
    return PolicyComparison(
        policy=policy.type,
        interval=interval,
        value=board.shown(value),
        threshold=board.shown(threshold),
        is_ended=value < threshold if is_ended is None else is_ended,
        compared=[
            Compared(trial=number, value=board.shown(figure))
            for number, figure in sorted(figures.items())
        ],
    )


def _lowest_kept(figures: dict[int, float], ended: int) -> float:
    """The figure of the worst trial that stays if the worst ``ended`` do not; equals stay."""
    return sorted(figures.values())[ended]


def bracket_of(policy: Asha | Hyperband, trial: int) -> int:
    """Which bracket a trial is in; of ASHA there is one, of Hyperband they take turns."""
    return 0 if isinstance(policy, Asha) else trial % bracket_count(policy)


def bracket_count(policy: Hyperband) -> int:
    """How many brackets there are: as many as rungs fit."""
    brackets, rung = 1, policy.min_intervals * policy.reduction_factor
    while rung <= policy.max_intervals:
        brackets, rung = brackets + 1, rung * policy.reduction_factor
    return brackets


def first_rung(policy: Asha | Hyperband, bracket: int) -> int:
    """The first interval at which trials of a bracket are compared."""
    return int(policy.min_intervals * policy.reduction_factor**bracket)
