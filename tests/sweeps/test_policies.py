"""Early termination, against tables that were worked out by hand."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.sweeps.judging import History, judged_in_order
from app.sweeps.policies import Board, Goal, Policy, bracket_count, intervals, judged
from app.sweeps.replay import TooMuchToReplay, replayed

_POLICY: TypeAdapter[Any] = TypeAdapter(Policy)


def policy(type: str, **values: Any) -> Any:  # noqa: A002
    return _POLICY.validate_python({"type": type, **values})


def board(goal: Goal, *curves: Sequence[float | None], over: tuple[int, ...] = ()) -> Board:
    made = Board(goal)
    for number, values in enumerate(curves):
        made.add(number, values)
    for number in over:
        made.end(number)
    return made


@pytest.mark.parametrize(
    ("interval", "delay", "after", "up_to", "asked"),
    [
        (1, 0, 0, 4, [1, 2, 3, 4]),
        (2, 0, 0, 7, [2, 4, 6]),
        (2, 5, 0, 9, [6, 8]),  # multiples of 2 that are at least 5
        (3, 6, 0, 9, [6, 9]),
        (1, 5, 0, 4, []),
        (2, 0, 4, 8, [6, 8]),
        (2, 0, 4, 4, []),
    ],
)
def test_when_a_policy_is_asked(
    interval: int, delay: int, after: int, up_to: int, asked: list[int]
) -> None:
    made = policy("median_stopping", evaluation_interval=interval, delay_evaluation=delay)
    assert list(intervals(made, after=after, up_to=up_to)) == asked


def test_rungs_are_powers_of_the_factor() -> None:
    made = policy("asha", min_intervals=2, reduction_factor=3)
    assert list(intervals(made, after=0, up_to=60)) == [2, 6, 18, 54]
    assert list(intervals(made, after=6, up_to=20)) == [18]


# The example of the contract: the best run at interval 10 has 0.8, the slack factor is 0.2:
# runs below 0.8 / 1.2 = 0.66… end.
@pytest.mark.parametrize(
    ("goal", "slack", "best", "value", "is_ended"),
    [
        ("maximize", {"slack_factor": 0.2}, 0.8, 0.66, True),
        ("maximize", {"slack_factor": 0.2}, 0.8, 0.67, False),
        ("minimize", {"slack_factor": 0.2}, 0.5, 0.61, True),  # 0.5 * 1.2 = 0.6
        ("minimize", {"slack_factor": 0.2}, 0.5, 0.59, False),
        ("maximize", {"slack_amount": 0.1}, 0.8, 0.69, True),
        ("maximize", {"slack_amount": 0.1}, 0.8, 0.71, False),
        ("minimize", {"slack_amount": 0.1}, 0.5, 0.61, True),
        ("minimize", {"slack_amount": 0.1}, 0.5, 0.59, False),
        # Below zero: -0.5 * 1.2 = -0.6 to be maximised, -0.6 / 1.2 = -0.5 to be minimised.
        ("maximize", {"slack_factor": 0.2}, -0.5, -0.61, True),
        ("maximize", {"slack_factor": 0.2}, -0.5, -0.59, False),
        ("minimize", {"slack_factor": 0.2}, -0.6, -0.49, True),
        ("minimize", {"slack_factor": 0.2}, -0.6, -0.51, False),
    ],
)
def test_bandit(
    goal: Goal, slack: dict[str, float], best: float, value: float, is_ended: bool
) -> None:
    found = judged(policy("bandit", **slack), board(goal, [best], [value]), trial=1, interval=1)
    assert found is not None
    assert found.is_ended is is_ended
    assert found.value == value


@pytest.mark.parametrize(
    ("goal", "slack", "best", "value"),
    [
        ("minimize", {"slack_amount": 0.1}, 0.7, 0.8),
        ("maximize", {"slack_amount": 0.1}, 0.8, 0.7),
        ("maximize", {"slack_amount": 0.1}, 0.3, 0.2),
        ("minimize", {"slack_factor": 0.1}, 0.7, 0.77),
        ("minimize", {"slack_factor": 0.2}, 3.0, 3.6),
        ("maximize", {"slack_factor": 0.1}, 0.77, 0.7),
        ("maximize", {"slack_factor": 0.1}, -0.7, -0.77),
    ],
)
def test_bandit_does_not_end_what_stands_exactly_at_the_threshold(
    goal: Goal, slack: dict[str, float], best: float, value: float
) -> None:
    made = policy("bandit", **slack)
    found = judged(made, board(goal, [best], [value]), trial=1, interval=1)
    assert found is not None
    assert not found.is_ended
    worse = value + (1e-9 if goal == "minimize" else -1e-9)
    found = judged(made, board(goal, [best], [worse]), trial=1, interval=1)
    assert found is not None
    assert found.is_ended


def test_bandit_takes_the_largest_numbers() -> None:
    for slack in ({"slack_amount": 1e300}, {"slack_factor": 1e300}):
        curves = board("maximize", [-1e308], [-1e300], [None])
        found = judged(policy("bandit", **slack), curves, trial=2, interval=1)
        assert found is not None
        assert found.is_ended


def test_bandit_compares_bests_up_to_the_interval_among_those_that_reached_it() -> None:
    curves = board("maximize", [0.5, 0.9, 0.7, 1.5], [0.8, 0.6, 0.6], [2.0, 2.0])
    found = judged(policy("bandit", slack_amount=0.15), curves, trial=1, interval=3)
    assert found is not None
    # The first had 0.9 by then, its 1.5 came later; the third has not come so far.
    assert found.threshold == pytest.approx(0.75)
    assert (found.value, found.is_ended) == (0.8, False)
    assert [(one.trial, one.value) for one in found.compared] == [(0, 0.9), (1, 0.8)]


def test_median_stopping_compares_the_best_with_the_median_of_running_averages() -> None:
    # Running averages at interval 3: 0.6, 0.4, 0.5, and 0.3; their median is 0.45.
    curves = board("maximize", [0.5, 0.6, 0.7], [0.3, 0.4, 0.5], [0.4, 0.5, 0.6], [0.2, 0.3, 0.4])
    ended = judged(policy("median_stopping"), curves, trial=3, interval=3)
    kept = judged(policy("median_stopping"), curves, trial=1, interval=3)
    assert ended is not None
    assert kept is not None
    assert ended.threshold == pytest.approx(0.45)
    assert (ended.value, ended.is_ended) == (0.4, True)
    assert (kept.value, kept.is_ended) == (0.5, False)
    assert [one.value for one in ended.compared] == pytest.approx([0.6, 0.4, 0.5, 0.3])


def test_median_stopping_to_be_minimised() -> None:
    # Running averages at 2: 1.5, 3.5, 5.5; the median is 3.5. The best of the last is 5.
    curves = board("minimize", [2, 1], [4, 3], [6, 5])
    found = judged(policy("median_stopping"), curves, trial=2, interval=2)
    assert found is not None
    assert (found.value, found.threshold, found.is_ended) == (5, 3.5, True)


@pytest.mark.parametrize(
    ("percentage", "exclude", "over", "ended"),
    [
        (20, False, (), {0}),  # 20 % of 5 is 1
        (40, False, (), {0, 1}),
        (39, False, (), {0}),  # 1.95 is 1
        (19, False, (), set()),
        (99, False, (), {0, 1, 2, 3}),
        (50, False, (0, 1), {0, 1}),  # those that ended before still count…
        (50, True, (0, 1), {2}),  # …unless they are left out: 1 of 3; of 0 and 1 see below
    ],
)
def test_truncation_selection(
    percentage: int, exclude: bool, over: tuple[int, ...], ended: set[int]
) -> None:
    made = policy(
        "truncation_selection", truncation_percentage=percentage, exclude_finished_jobs=exclude
    )
    curves = board("maximize", [0.1], [0.2], [0.3], [0.4], [0.5], over=over)
    running = set(range(5)) - (set(over) if exclude else set())
    found = {
        number
        for number in running
        if (one := judged(made, curves, trial=number, interval=1)) and one.is_ended
    }
    assert found == ended


def test_equals_are_not_ended_for_the_place_they_stand_in() -> None:
    made = policy("truncation_selection", truncation_percentage=50)
    curves = board("maximize", [0.5], [0.5], [0.5], [0.5])
    assert not any(
        one.is_ended
        for number in range(4)
        if (one := judged(made, curves, trial=number, interval=1))
    )


def test_asha_lets_the_best_of_a_rung_go_on() -> None:
    made = policy("asha", min_intervals=1, reduction_factor=3)
    curves = board("minimize", [0.3], [0.2], [0.5], [0.4], [0.1], [0.6])
    kept = {
        number
        for number in range(6)
        if (one := judged(made, curves, trial=number, interval=1)) and not one.is_ended
    }
    assert kept == {1, 4}
    # The first at a rung goes on: nobody is there yet to compare it with.
    alone = judged(made, board("minimize", [9.9]), trial=0, interval=1)
    assert alone is not None
    assert not alone.is_ended


def test_hyperband_has_brackets_that_begin_later() -> None:
    made = policy("hyperband", min_intervals=1, max_intervals=9, reduction_factor=3)
    assert bracket_count(made) == 3
    curves = board("maximize", *[[number / 10] * 3 for number in range(9)])
    # Trials 0, 3, 6 are compared at 1 and 3; 1, 4, 7 at 3 only; 2, 5, 8 never: at 9 all are whole.
    assert list(intervals(made, after=0, up_to=20)) == [1, 3]
    first = judged(made, curves, trial=0, interval=1)
    assert first is not None
    assert [one.trial for one in first.compared] == [0, 3, 6]
    assert first.is_ended
    assert judged(made, curves, trial=1, interval=1) is None
    second = judged(made, curves, trial=1, interval=3)
    assert second is not None
    assert [one.trial for one in second.compared] == [1, 4, 7]
    assert judged(made, curves, trial=2, interval=3) is None


def test_what_is_no_number_is_worse_than_all() -> None:
    curves = board("minimize", [5.0, 4.0], [None, None])
    found = judged(policy("bandit", slack_amount=100), curves, trial=1, interval=2)
    assert found is not None
    assert (found.value, found.is_ended) == (None, True)
    assert found.compared[1].value is None


@given(st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=1, max_size=30))
def test_running_averages_are_averages_until_one_is_no_number(values: list[float | None]) -> None:
    seen = board("maximize", values)
    for interval in range(1, len(values) + 1):
        numbers = [value for value in values[:interval] if value is not None]
        mean = seen.means(interval)[0]
        if len(numbers) < interval:
            assert mean == -math.inf
        else:
            assert mean == pytest.approx(fmean(numbers), rel=1e-9, abs=1e-6)


_POLICIES = [
    policy("bandit", slack_factor=0.1),
    policy("bandit", slack_amount=0.5, evaluation_interval=2),
    policy("median_stopping", delay_evaluation=2),
    policy("truncation_selection", truncation_percentage=60),
    policy("truncation_selection", truncation_percentage=60, exclude_finished_jobs=True),
    policy("asha"),
    policy("hyperband", max_intervals=9),
]
_CURVES = st.lists(
    st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=1, max_size=8), min_size=1, max_size=8
)


@given(st.sampled_from(_POLICIES), st.sampled_from(["maximize", "minimize"]), _CURVES)
def test_the_best_at_an_interval_is_never_ended(made: Any, goal: Goal, curves: Any) -> None:
    seen = board(goal, *curves)
    for interval in range(1, 9):
        bests = seen.bests(interval)
        if bests:
            best = max(bests, key=lambda number: bests[number])
            found = judged(made, seen, trial=best, interval=interval)
            assert found is None or not found.is_ended


@given(st.sampled_from(_POLICIES), _CURVES)
def test_both_goals_are_the_same_but_for_the_sign(made: Any, curves: Any) -> None:
    turned = [[None if value is None else -value for value in curve] for curve in curves]
    for interval in range(1, 9):
        for trial in board("maximize", *curves).bests(interval):
            one = judged(made, board("maximize", *curves), trial=trial, interval=interval)
            other = judged(made, board("minimize", *turned), trial=trial, interval=interval)
            assert (one and one.is_ended) == (other and other.is_ended)


@given(st.sampled_from(_POLICIES), _CURVES, _CURVES)
def test_what_is_logged_later_changes_nothing(made: Any, curves: Any, later: Any) -> None:
    interval = min(map(len, curves))
    longer = [[*curve, *later[number % len(later)]] for number, curve in enumerate(curves)]
    for trial in range(len(curves)):
        if len(curves[trial]) >= interval:
            now = judged(made, board("maximize", *curves), trial=trial, interval=interval)
            then = judged(made, board("maximize", *longer), trial=trial, interval=interval)
            assert now == then


@pytest.mark.parametrize(
    "document",
    [
        {"type": "bandit"},
        {"type": "bandit", "slack_factor": 0.1, "slack_amount": 0.1},
        {"type": "bandit", "slack_factor": -0.1},
        {"type": "truncation_selection", "truncation_percentage": 100},
        {"type": "median_stopping", "evaluation_interval": 0},
        {"type": "hyperband", "min_intervals": 9, "max_intervals": 3},
        {"type": "none"},
    ],
)
def test_a_policy_that_cannot_be_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _POLICY.validate_python(document)


def history(trial: int, *values: float | None, start: float = 0.0) -> History:
    """A trial that logs a value every second."""
    times = [start + second for second in range(1, len(values) + 1)]
    return History(trial, values, times, times[-1] + 0.5)


def test_a_replay_says_what_would_have_been_saved() -> None:
    histories = [
        history(0, 0.5, 0.6, 0.7, 0.8),
        history(1, 0.3, 0.3, 0.3, 0.3, start=0.1),
        history(2, 0.45, 0.7, 0.8, 0.9, start=0.2),
    ]
    found = replayed(policy("bandit", slack_amount=0.1), "maximize", histories)
    assert (found.trials_count, found.ended_count) == (3, 1)
    assert (found.intervals_count, found.saved_intervals) == (12, 3)
    assert found.saved_seconds == pytest.approx(3.5)
    assert (found.winner, found.winner_value, found.is_winner_ended) == (2, 0.9, False)
    (ended,) = found.ended
    assert (ended.trial, ended.interval, ended.value) == (1, 1, 0.3)
    assert ended.threshold == pytest.approx(0.4)
    assert ended.compared_count == 2  # the third had logged nothing by then


def test_a_replay_says_when_the_winner_would_have_been_ended() -> None:
    late = [history(0, 0.6, 0.6), history(1, 0.1, 0.9, start=0.1)]
    found = replayed(policy("bandit", slack_amount=0.2), "maximize", late)
    assert (found.winner, found.is_winner_ended) == (1, True)
    assert (found.replayed_winner, found.replayed_winner_value) == (0, 0.6)


def test_a_trial_that_ends_at_its_best_value_is_still_the_winner() -> None:
    # Ended at its own best value: nothing of the winner's worth is lost.
    early = [history(0, 0.9, 0.1, 0.1), history(1, 0.2, 1.0, 1.0, start=0.1)]
    found = replayed(policy("median_stopping", delay_evaluation=3), "maximize", early)
    assert (found.winner, found.is_winner_ended) == (1, False)


def test_a_replay_that_would_take_long_is_refused() -> None:
    many = [history(number, *[0.1] * 2000) for number in range(200)]
    with pytest.raises(TooMuchToReplay, match="evaluation_interval"):
        replayed(policy("median_stopping"), "maximize", many)
    assert replayed(policy("asha"), "maximize", many[:50]).ended_count == 0


@given(st.sampled_from(_POLICIES), _CURVES, st.integers(1, 5))
def test_it_matters_not_how_often_a_sweep_is_looked_at(made: Any, curves: Any, step: int) -> None:
    whole = [
        History(number, curve, [t + number / 10 for t in range(len(curve))], len(curve) + 1.0)
        for number, curve in enumerate(curves)
    ]
    looked, seen = dict[int, Any](), dict[int, int]()
    for now in range(0, 9 + step, step):
        known = [
            one._replace(
                values=one.values[: sum(at < now for at in one.times)],
                times=[at for at in one.times if at < now],
                ended=one.ended if one.ended < now else math.inf,
            )
            for one in whole
        ]
        known = [one for one in known if one.values]
        ended = {number: found.interval for number, found in looked.items()}
        looked |= judged_in_order(made, "maximize", known, judged_before=seen, ended_before=ended)
        seen = {one.trial: len(one.values) for one in known}
    at_once = judged_in_order(made, "maximize", whole, judged_before={}, ended_before={})
    assert looked == at_once
