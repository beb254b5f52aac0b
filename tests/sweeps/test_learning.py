"""What samplers learn from trials that did not simply complete."""

import math
import random
from typing import Any, Literal

import pytest

from app.sweeps.importance import importances
from app.sweeps.past import Past
from app.sweeps.sampling import proposed
from tests.sweeps.test_space import dist

SPACE = {"x": dist("uniform", min=0, max=1)}
Kind = Literal["tpe", "gp"]


def near(kind: Kind, past: list[Past], at: float, space: Any = SPACE) -> float:
    """Which part of proposals lies near a place."""
    found = [
        proposed(kind, space, [], "minimize", past, seed=seed, numbers=[len(past)])[0]["x"]
        for seed in range(8)
    ]
    return sum(abs(float(x) - at) < 0.2 for x in found) / len(found)


def bowl(x: float) -> float:
    return (x - 0.8) ** 2


def places(count: int = 16) -> list[float]:
    chance = random.Random(3)
    return [chance.random() for _ in range(count)]


def test_a_gaussian_process_learns_from_trials_that_were_all_ended_early() -> None:
    past = [Past({"x": x}, "ended", bowl(x), 3) for x in places()]
    assert near("gp", past, 0.8) >= 0.9


@pytest.mark.parametrize("kind", ["tpe", "gp"])
@pytest.mark.parametrize("state", ["failed", "completed", "ended"])
def test_where_trials_fail_fewer_are_proposed(kind: Kind, state: Any) -> None:
    good = [Past({"x": x}, "completed", 1.0 - x / 10, 3) for x in places() if x < 0.5]
    # These logged no number, or failed.
    bad = [Past({"x": x}, state, None, 0) for x in places() if x >= 0.5]
    assert near(kind, good + bad, 0.9) <= 0.25


def test_one_loss_that_exploded_does_not_hide_the_others() -> None:
    past = [Past({"x": x}, "completed", bowl(x), 3) for x in places()]
    exploded = [*past, Past({"x": 0.01}, "completed", 1e200, 3)]
    assert near("gp", exploded, 0.8) >= 0.9


def test_a_gaussian_process_learns_parameters_that_depend_on_a_choice() -> None:
    space = {
        "kind": dist("choice", values=["a", "b"]),
        "x": dist("uniform", min=0, max=1, when={"kind": ["a"]}),
    }
    past = [Past({"kind": "a", "x": x}, "completed", bowl(x), 1) for x in places()]
    past += [Past({"kind": "b"}, "completed", 0.5, 1) for _ in range(4)]
    found = [
        proposed("gp", space, [], "minimize", past, seed=seed, numbers=[20])[0] for seed in range(6)
    ]
    assert all(one["kind"] == "a" and abs(float(one["x"]) - 0.8) < 0.2 for one in found)


def test_importance_of_what_never_changes_is_none() -> None:
    rows: list[dict[str, float | int]] = [
        {"x": number / 10, "fixed": 0, "still": 0.5} for number in range(10)
    ]
    found = importances(rows, [one["x"] ** 2 for one in rows])
    assert found == {"x": pytest.approx(1), "fixed": 0, "still": 0}
    assert importances([{"fixed": 0}] * 5, [1.0, 2, 3, 4, 5]) == {"fixed": 0}
    assert importances(rows, [1.0] * 10) == {"x": 0, "fixed": 0, "still": 0}


def test_importance_takes_huge_values() -> None:
    rows: list[dict[str, float | int]] = [
        {"x": number / 10, "y": number * 7 % 10 / 10} for number in range(10)
    ]
    found = importances(rows, [1.7e308 * (one["x"] - 0.5) for one in rows])
    assert math.isfinite(found["x"])
    assert found["x"] > 0.5
