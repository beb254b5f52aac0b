"""The policies against numbers that others have published; facts only, with where they stand."""

import itertools

import pytest

from app.sweeps.judging import judged_in_order
from app.sweeps.policies import Board, bracket_of, intervals, judged
from tests.sweeps.test_policies import board, history, policy


def survivors(made: object, numbers: list[int], interval: int) -> list[int]:
    """Those of these trials that a policy lets go on when all have reached an interval.

    The trial with the lowest number is the worst.
    """
    seen = Board("maximize")
    for number in numbers:
        seen.add(number, [float(number)] * interval)
    found = {number: judged(made, seen, trial=number, interval=interval) for number in numbers}  # type: ignore[arg-type]
    return [number for number, one in found.items() if one is None or not one.is_ended]


# Li et al. 2016, "Hyperband" (arXiv:1603.06560), table 1: R = 81, η = 3; (n_i, r_i) by bracket,
# beginning with s = 4. Brackets of one size take as many trials as they are given.
_HYPERBAND_81 = [
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(27, 3), (9, 9), (3, 27), (1, 81)],
    [(9, 9), (3, 27), (1, 81)],
    [(6, 27), (2, 81)],
    [(5, 81)],
]
# mlr3hyperband's reference of its tuner "hyperband": η = 2, r_min = 1, r_max = 8; s = 3, 2, 1.
_HYPERBAND_8 = [
    [(8, 1), (4, 2), (2, 4), (1, 8)],
    [(6, 2), (3, 4), (1, 8)],
    [(4, 4), (2, 8)],
]


@pytest.mark.parametrize(
    ("largest", "factor", "brackets"), [(81, 3, _HYPERBAND_81), (8, 2, _HYPERBAND_8)]
)
def test_brackets_of_hyperband(
    largest: int, factor: int, brackets: list[list[tuple[int, int]]]
) -> None:
    made = policy("hyperband", max_intervals=largest, reduction_factor=factor)
    rungs = list(intervals(made, after=0, up_to=largest))
    for bracket, table in enumerate(brackets):
        numbers = [n for n in range(1000) if bracket_of(made, n) == bracket][: table[0][0]]
        first = [rung for rung in rungs if rung >= table[0][1]]
        assert first == [resource for _, resource in table[:-1]]
        for (count, resource), (kept, _) in itertools.pairwise(table):
            assert len(numbers) == count
            numbers = survivors(made, numbers, resource)
            assert len(numbers) == kept


# Syne Tune's tutorial on asynchronous successive halving: of 243 trials after 1 epoch 81 train for
# 3, 27 for 9, 9 for 27 and 3 for 81.
def test_rungs_of_successive_halving() -> None:
    made = policy("asha", reduction_factor=3)
    numbers, counts = list(range(243)), []
    for rung in (1, 3, 9, 27):
        numbers = survivors(made, numbers, rung)
        counts.append(len(numbers))
    assert counts == [81, 27, 9, 3]
    assert numbers == [240, 241, 242]


# The same: a trial that reaches a rung is stopped unless it is among the best third of those that
# reached it before; while a rung has fewer than three, the default there is to go on. Here the
# best goes on, which is what is left of a third of one or two.
def test_asha_decides_at_once() -> None:
    values = [0.5, 0.6, 0.4, 0.7, 0.3]
    arriving = [history(number, value, start=number / 10) for number, value in enumerate(values)]
    found = judged_in_order(
        policy("asha", reduction_factor=3), "maximize", arriving, judged_before={}, ended_before={}
    )
    assert sorted(found) == [2, 4]


# Azure Machine Learning, azureml.train.hyperdrive.BanditPolicy: with slack_factor 0.2 and
# evaluation_interval 100 the best run has an AUC of 0.8; a run whose best is Y is canceled if
# Y + 0.2 Y is less. With delay_evaluation 200 the policy is applied first at 200.
@pytest.mark.parametrize(("best", "is_ended"), [(0.66, True), (0.6666, True), (0.6667, False)])
def test_bandit_of_hyperdrive(best: float, is_ended: bool) -> None:
    made = policy("bandit", slack_factor=0.2, evaluation_interval=100)
    curves = board("maximize", [0.8] * 100, [best] * 100)
    found = judged(made, curves, trial=1, interval=100)
    assert found is not None
    assert (found.is_ended, 1.2 * best < 0.8) == (is_ended, is_ended)
    delayed = policy("bandit", slack_factor=0.2, evaluation_interval=100, delay_evaluation=200)
    assert list(intervals(made, after=0, up_to=250)) == [100, 200]
    assert list(intervals(delayed, after=0, up_to=350)) == [200, 300]
