"""A sweep that is over, under another policy: what would have ended when; pure."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, Field

from app.sweeps.judging import History, judged_in_order
from app.sweeps.policies import Goal, Policy, PolicyComparison, intervals

MOST_COMPARISONS = 5_000_000
"""More would keep the caller waiting for many seconds."""
MOST_VALUES = 1_000_000
"""More would take too much memory at a time."""


class TooMuchToReplay(ValueError):
    """The policy would be asked too often among too many trials."""


class EndedTrial(BaseModel):
    """A trial that the policy would have ended."""

    trial: int
    interval: int
    value: float | None
    threshold: float | None
    compared_count: int = Field(description="Trials that gave the threshold")
    saved_intervals: int
    saved_seconds: float


class Replay(BaseModel):
    """What a policy would have done.

    Values come as they came; which values a sampler would have proposed instead is not known.
    """

    trials_count: int
    ended_count: int = Field(description="Runs that would have been saved the rest")
    intervals_count: int
    saved_intervals: int
    saved_seconds: float = Field(description="Of all saved runs together")
    winner: int | None = Field(description="Number of the trial with the best value")
    winner_value: float | None
    is_winner_ended: bool = Field(description="Whether it would have ended before that value")
    replayed_winner: int | None = Field(description="The best of what would have been logged")
    replayed_winner_value: float | None
    ended: list[EndedTrial]


def check_size(policy: Policy, lengths: Sequence[int]) -> None:
    """See that a replay does not take too long.

    Args:
        policy: the other policy.
        lengths: how many values the trials have logged.

    Raises:
        TooMuchToReplay: more than `MOST_VALUES` would have to be read, or more than
            `MOST_COMPARISONS` be made.
    """
    if sum(lengths) > MOST_VALUES:
        raise TooMuchToReplay(f"the trials logged more than {MOST_VALUES:,} values")
    asked = sum(sum(1 for _ in intervals(policy, after=0, up_to=length)) for length in lengths)
    if asked * len(lengths) > MOST_COMPARISONS:
        raise TooMuchToReplay("take a larger evaluation_interval")


def replayed(
    policy: Policy,
    goal: Goal,
    histories: Sequence[History],
    *,
    recorded: Mapping[int, PolicyComparison] | None = None,
) -> Replay:
    """Ask a policy at every moment at which a trial logged a value.

    Args:
        policy: the other policy.
        goal: which values are good.
        histories: of all trials that have logged something.
        recorded: the comparisons that ended trials, where this was the policy of the sweep. They
            stand: then values may have come too late to be known when they should have counted.

    Raises:
        TooMuchToReplay: it would take too long.
    """
    check_size(policy, [len(history.values) for history in histories])
    if recorded is None:
        recorded = judged_in_order(policy, goal, histories, judged_before={}, ended_before={})
    ended = {
        history.trial: _ended(history, recorded[history.trial])
        for history in histories
        if history.trial in recorded
    }
    return _summary(goal, histories, ended)


def _ended(history: History, comparison: PolicyComparison) -> EndedTrial:
    interval = comparison.interval
    at = history.times[min(interval, len(history.times)) - 1]
    return EndedTrial(
        trial=history.trial,
        interval=interval,
        value=comparison.value,
        threshold=comparison.threshold,
        compared_count=len(comparison.compared),
        saved_intervals=max(0, len(history.values) - interval),
        saved_seconds=max(0.0, history.ended - at),
    )


def _summary(goal: Goal, histories: Sequence[History], ended: dict[int, EndedTrial]) -> Replay:
    winner, value, at = _best(goal, histories, {})
    replayed_winner, replayed_value, _ = _best(goal, histories, ended)
    return Replay(
        trials_count=len(histories),
        ended_count=len(ended),
        intervals_count=sum(len(history.values) for history in histories),
        saved_intervals=sum(trial.saved_intervals for trial in ended.values()),
        saved_seconds=sum(trial.saved_seconds for trial in ended.values()),
        winner=winner,
        winner_value=value,
        is_winner_ended=winner in ended and ended[winner].interval < at,
        replayed_winner=replayed_winner,
        replayed_winner_value=replayed_value,
        ended=[ended[number] for number in sorted(ended)],
    )


def _best(
    goal: Goal, histories: Sequence[History], ended: dict[int, EndedTrial]
) -> tuple[int | None, float | None, int]:
    """Number, value and interval of the best; of equals the trial with the lowest number."""
    sign = 1.0 if goal == "maximize" else -1.0
    found: tuple[float, int, int] | None = None
    for history in histories:
        last = ended[history.trial].interval if history.trial in ended else len(history.values)
        for interval, value in enumerate(history.values[:last], start=1):
            if value is None:
                continue
            key = (sign * value, -history.trial, -interval)
            found = key if found is None else max(found, key)
    if found is None:
        return None, None, 0
    return -found[1], sign * found[0], -found[2]
