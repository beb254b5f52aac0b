"""A policy over the trials of a sweep, asked in the order in which they logged; pure."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

from app.sweeps.policies import Board, Goal, Policy, PolicyComparison, intervals, judged


class History(NamedTuple):
    """What a trial logged, and when.

    Attributes:
        trial: its number.
        values: of the primary metric in order; None: no number.
        times: of the values, in seconds since any moment that is the same for all trials.
        ended: when the trial ended, in the same seconds; infinite: it goes on.
    """

    trial: int
    values: Sequence[float | None]
    times: Sequence[float]
    ended: float


def judged_in_order(
    policy: Policy,
    goal: Goal,
    histories: Sequence[History],
    *,
    judged_before: Mapping[int, int],
    ended_before: Mapping[int, int],
) -> dict[int, PolicyComparison]:
    """Ask a policy at each moment at which a trial logged a value, knowing what came before it.

    What a trial logs after the interval at which it was ended counts for nothing.

    Args:
        policy: the policy.
        goal: which values are good.
        histories: of all trials that have logged something.
        judged_before: how many intervals of a trial are not asked about, by its number.
        ended_before: the intervals at which trials were ended already, by their numbers.

    Returns:
        The comparisons that end trials, by their numbers.
    """
    known = {history.trial: history for history in histories}
    ended, found = dict(ended_before), dict[int, PolicyComparison]()
    begin = _first_moment(histories, judged_before, ended)
    board = _board(goal, histories, ended, before=begin)
    for _, is_end, trial, interval in _moments(histories, begin):
        last = ended.get(trial, inf)
        if is_end:
            board.end(trial)
        elif interval <= last:
            board.add(trial, [known[trial].values[interval - 1]])
            if interval == last:
                board.end(trial)
            elif interval > judged_before.get(trial, 0):
                comparison = _asked(policy, board, trial, interval)
                if comparison is not None:
                    ended[trial], found[trial] = interval, comparison
                    board.end(trial)
    return found


def _first_moment(
    histories: Sequence[History], judged_before: Mapping[int, int], ended: Mapping[int, int]
) -> float:
    """When the first value was logged about which the policy is to be asked."""
    asked = (
        history.times[judged_before.get(history.trial, 0)]
        for history in histories
        if history.trial not in ended and judged_before.get(history.trial, 0) < len(history.times)
    )
    return min(asked, default=inf)


def _board(
    goal: Goal, histories: Sequence[History], ended: Mapping[int, int], *, before: float
) -> Board:
    """What there was before a moment."""
    board = Board(goal)
    for history in histories:
        last = ended.get(history.trial, len(history.values))
        count = bisect_left(history.times, before)
        board.add(history.trial, history.values[: min(count, last)])
        if history.ended < before or (history.trial in ended and count >= last):
            board.end(history.trial)
    return board


def _moments(histories: Sequence[History], begin: float) -> Iterator[tuple[float, bool, int, int]]:
    """Values and ends from a moment on: time, whether it is an end, trial, interval."""
    moments: list[tuple[float, bool, int, int]] = []
    for history in histories:
        first = bisect_left(history.times, begin)
        moments += [
            (time, False, history.trial, interval)
            for interval, time in enumerate(history.times[first:], start=first + 1)
        ]
    moments += [
        (history.ended, True, history.trial, 0) for history in histories if history.ended >= begin
    ]
    return iter(sorted(moments))


def _asked(policy: Policy, board: Board, trial: int, interval: int) -> PolicyComparison | None:
    for asked in intervals(policy, after=interval - 1, up_to=interval):
        comparison = judged(policy, board, trial=trial, interval=asked)
        if comparison is not None and comparison.is_ended:
            return comparison
    return None
