"""Samplers that learn: reproducible, better than chance, and within the space."""

import math
import random
from collections.abc import Callable
from typing import Any, Literal

import pytest

from app.sweeps.distributions import Values
from app.sweeps.importance import importances
from app.sweeps.past import Past
from app.sweeps.sampling import proposed
from app.sweeps.space import drawn
from tests.sweeps.test_policies import policy
from tests.sweeps.test_space import CONDITIONAL, constraints, dist

Kind = Literal["tpe", "gp"]
SPACE = {
    "x": dist("uniform", min=-5, max=5),
    "lr": dist("loguniform", min=math.log(1e-5), max=math.log(1)),
    "kind": dist("choice", values=["a", "b", "c"]),
}


def bowl(values: Values) -> float:
    """Least, 0, at x=2, lr=0.01 and kind b."""
    x, lr = float(values["x"]), math.log10(float(values["lr"])) + 2
    return (x - 2) ** 2 + lr**2 + (0 if values["kind"] == "b" else 3)


def search(kind: Kind, count: int, *, seed: int, space: Any = SPACE) -> list[Past]:
    past: list[Past] = []
    for number in range(count):
        (values,) = proposed(kind, space, [], "minimize", past, seed=seed, numbers=[number])
        past.append(Past(values, "completed", bowl(values), 1))
    return past


def best(past: list[Past]) -> float:
    return min(one.value for one in past if one.value is not None)


@pytest.mark.parametrize("kind", ["tpe", "gp"])
def test_a_sampler_finds_more_than_chance(kind: Kind) -> None:
    chances = [
        min(bowl(drawn(SPACE, [], seed=seed, number=number)) for number in range(35))
        for seed in range(20)
    ]
    found = best(search(kind, 35, seed=1))
    assert found < sorted(chances)[len(chances) // 2]


@pytest.mark.parametrize("kind", ["tpe", "gp"])
def test_a_proposal_depends_on_the_trials_alone(kind: Kind) -> None:
    past = search(kind, 14, seed=7)
    running = [*past, Past(past[0].values, "running", None, 0)]
    first = proposed(kind, SPACE, [], "minimize", running, seed=7, numbers=[15, 16])
    again = proposed(kind, SPACE, [], "minimize", running, seed=7, numbers=[15, 16])
    other = proposed(kind, SPACE, [], "minimize", running, seed=8, numbers=[15, 16])
    assert first == again
    assert first != other
    assert first[0] != first[1]


@pytest.mark.parametrize("kind", ["tpe", "gp"])
def test_conditions_and_constraints_hold_in_proposals(kind: Kind) -> None:
    space = {**CONDITIONAL, "x": dist("uniform", min=0, max=1), "n": dist("randint", upper=4)}
    given = constraints(
        {"type": "forbidden", "values": {"optimizer": ["adam"], "n": [0, 1]}},
        {"type": "product_at_most", "parameters": ["x", "n"], "limit": 2},
    )
    past: list[Past] = []
    for number in range(20):
        (values,) = proposed(kind, space, given, "maximize", past, seed=1, numbers=[number])
        assert ("momentum" in values) == (values["optimizer"] == "sgd")
        assert ("nesterov" in values) == (values.get("momentum") == 0.9)
        assert values["optimizer"] == "sgd" or int(values["n"]) > 1
        assert float(values["x"]) * int(values["n"]) <= 2
        past.append(
            Past(values, "ended" if number % 3 else "completed", float(values["x"]), 1 + number % 3)
        )


def test_trials_of_other_spaces_are_left_out() -> None:
    foreign = [
        Past({"x": 99.0, "lr": 0.1, "kind": "a"}, "completed", 0.0, 1),
        Past({"x": 1.0, "lr": 0.1, "kind": "z"}, "completed", 0.0, 1),
        Past({"x": 1.0, "kind": "a"}, "completed", 0.0, 1),
        Past({"x": 1.0, "lr": 0.1, "kind": "a", "more": 1}, "completed", 0.0, 1),
        Past({"x": 1.0, "lr": 0.1, "kind": "a"}, "completed", None, 0),
    ] * 5
    alone = proposed("tpe", SPACE, [], "minimize", [], seed=3, numbers=[0])
    assert proposed("tpe", SPACE, [], "minimize", foreign, seed=3, numbers=[0]) == alone


@pytest.mark.parametrize(
    "make",
    [
        lambda: dist("quniform", min=0, max=100, q=7),
        lambda: dist("qloguniform", min=0, max=5, q=3),
        lambda: dist("normal", mu=0, sigma=2),
        lambda: dist("qlognormal", mu=1, sigma=1, q=1),
        lambda: dist("randint", upper=1000),
    ],
)
def test_a_sampler_takes_every_distribution(make: Callable[[], Any]) -> None:
    space = {"v": make()}
    past: list[Past] = []
    for number in range(25):
        (values,) = proposed("tpe", space, [], "maximize", past, seed=0, numbers=[number])
        past.append(Past(values, "completed", float(values["v"]), 1))
    early = sorted(one.value or 0 for one in past[:10])[5]
    late = sorted(one.value or 0 for one in past[15:])[5]
    assert late >= early


def test_importance_is_that_of_what_matters() -> None:
    chance = random.Random(5)
    places: list[dict[str, float | int]] = [
        {"much": chance.random(), "some": chance.randrange(3), "none": chance.random()}
        for _ in range(60)
    ]
    values = [10 * place["much"] + place["some"] for place in places]
    found = importances(places, values)
    assert found["much"] > found["some"] > found["none"]
    assert sum(found.values()) == pytest.approx(1)
    assert importances(places[:8], [1.0] * 8) == {"much": 0, "some": 0, "none": 0}


def test_policies_and_samplers_are_independent() -> None:
    # A trial that a policy ended teaches with what it had reached.
    made = policy("asha")
    assert made.type == "asha"
    ended = [
        Past({"x": float(number), "lr": 0.1, "kind": "a"}, "ended", float(number), 2)
        for number in range(-5, 5)
    ] * 2
    proposals = proposed("tpe", SPACE, [], "minimize", ended, seed=1, numbers=list(range(20, 40)))
    assert sum(float(one["x"]) for one in proposals) / 20 < 0
