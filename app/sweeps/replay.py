"""A sweep that is over, under another policy: what would have ended when; pure."""

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import BaseModel, Field

from app.sweeps.policies import Board, Goal, Policy, intervals, judged

MOST_COMPARISONS = 5_000_000
"""More would keep the caller waiting for many seconds."""


class TooMuchToReplay(ValueError):
    """The policy would be asked too often among too many trials."""


class History(NamedTuple):
    """What a trial logged, and when.

    Attributes:
        trial: its number.
        values: of the primary metric in order; None: no number.
        times: of the values, in seconds since any moment that is the same for all trials.
        ended: when the trial ended, in the same seconds.
    """

    trial: int
    values: Sequence[float | None]
    times: Sequence[float]
    ended: float


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


def replayed(policy: Policy, goal: Goal, histories: Sequence[History]) -> Replay:
    """Ask a policy at every moment at which a trial logged a value.

    Args:
        policy: the other policy.
        goal: which values are good.
        histories: of all trials that have logged something.

    Raises:
        TooMuchToReplay: more than `MOST_COMPARISONS` would have to be made.
    """
    asked = sum(
        sum(1 for _ in intervals(policy, after=0, up_to=len(history.values)))
        for history in histories
    )
    if asked * len(histories) > MOST_COMPARISONS:
        raise TooMuchToReplay("take a larger evaluation_interval")
    board, ended = Board(goal), dict[int, EndedTrial]()
    for _, is_end, trial, interval in _moments(histories):
        history = histories[trial]
        if history.trial in ended:
            continue
        if is_end:
            board.end(history.trial)
            continue
        board.add(history.trial, [history.values[interval - 1]])
        found = _ended(policy, board, history, interval)
        if found is not None:
            ended[history.trial] = found
            board.end(history.trial)
    return _summary(goal, histories, ended)


def _moments(histories: Sequence[History]) -> list[tuple[float, bool, int, int]]:
    moments = [
        (time, False, place, interval)
        for place, history in enumerate(histories)
        for interval, time in enumerate(history.times, start=1)
    ]
    moments += [(history.ended, True, place, 0) for place, history in enumerate(histories)]
    return sorted(moments)


def _ended(policy: Policy, board: Board, history: History, interval: int) -> EndedTrial | None:
    for asked in intervals(policy, after=interval - 1, up_to=interval):
        comparison = judged(policy, board, trial=history.trial, interval=asked)
        if comparison is not None and comparison.is_ended:
            return EndedTrial(
                trial=history.trial,
                interval=interval,
                value=comparison.value,
                threshold=comparison.threshold,
                compared_count=len(comparison.compared),
                saved_intervals=len(history.values) - interval,
                saved_seconds=max(0.0, history.ended - history.times[interval - 1]),
            )
    return None


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
