"""Search spaces: the distributions of the contract, conditions and constraints."""

import math
from itertools import islice
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.sweeps.constraints import Constraint, check_constraints, satisfies
from app.sweeps.distributions import Distribution, coordinate_of, value_at
from app.sweeps.space import NothingLeft, combinations, drawn, ordered

_DISTRIBUTION: TypeAdapter[Any] = TypeAdapter(Distribution)
_CONSTRAINTS: TypeAdapter[Any] = TypeAdapter(list[Constraint])


def dist(type: str, **values: Any) -> Any:  # noqa: A002
    return _DISTRIBUTION.validate_python({"type": type, **values})


def constraints(*documents: dict[str, Any]) -> Any:
    return _CONSTRAINTS.validate_python(list(documents))


@pytest.mark.parametrize(
    ("distribution", "coordinate", "value"),
    [
        (dist("choice", values=["a", "b", "c"]), 0.0, "a"),
        (dist("choice", values=["a", "b", "c"]), 0.34, "b"),
        (dist("choice", values=["a", "b", "c"]), 0.999999, "c"),
        (dist("randint", upper=4), 0.0, 0),
        (dist("randint", upper=4), 0.999999, 3),
        (dist("uniform", min=-1, max=3), 0.25, 0.0),
        (dist("quniform", min=0, max=1, q=0.1), 0.32, 0.3),
        (dist("quniform", min=0, max=10, q=4), 0.95, 8),  # round(9.5 / 4) * 4
        (dist("quniform", min=0, max=11, q=4), 0.95, 12),  # rounding may lead beyond the end
        (dist("quniform", min=0, max=10, q=5), 0.25, 0),  # 2.5 / 5 is half: to the even one
        (dist("quniform", min=0, max=10, q=5), 0.75, 10),
        (dist("loguniform", min=math.log(1e-4), max=math.log(1e-2)), 0.5, 1e-3),
        (dist("qloguniform", min=0, max=math.log(100), q=10), 0.5, 10),
        (dist("normal", mu=2, sigma=3), 0.5, 2.0),
        (dist("normal", mu=0, sigma=1), NormalDist().cdf(1.5), 1.5),
        (dist("qnormal", mu=0, sigma=10, q=5), NormalDist().cdf(1.2), 10),
        (dist("lognormal", mu=1, sigma=2), 0.5, math.e),
        (dist("qlognormal", mu=1, sigma=2, q=2), 0.5, 2),
    ],
)
def test_a_value_at_a_quantile(distribution: Any, coordinate: float, value: object) -> None:
    found = value_at(distribution, coordinate)
    assert found == pytest.approx(value) if isinstance(value, float) else found == value
    assert isinstance(found, int) == isinstance(value, int)


_ALL = [
    dist("choice", values=["a", 1, True, 1.5, False, 0]),
    dist("randint", upper=7),
    dist("uniform", min=-2, max=5),
    dist("quniform", min=-2, max=5, q=0.3),
    dist("loguniform", min=-6, max=-1),
    dist("qloguniform", min=-1, max=5, q=3),
    dist("normal", mu=1, sigma=4),
    dist("qnormal", mu=1, sigma=4, q=0.5),
    dist("lognormal", mu=0, sigma=1),
    dist("qlognormal", mu=0, sigma=1, q=1),
]


@given(st.sampled_from(_ALL), st.floats(0, 1, exclude_max=True))
def test_every_value_lies_somewhere_and_that_gives_it_back(
    distribution: Any, coordinate: float
) -> None:
    value = value_at(distribution, coordinate)
    place = coordinate_of(distribution, value)
    assert place is not None
    assert 0 <= place < 1
    again = value_at(distribution, place)
    if isinstance(value, float):
        assert again == pytest.approx(value, rel=1e-6, abs=1e-6)
    elif distribution.type == "choice":
        assert again == value
        assert type(again) is type(value)


@given(st.sampled_from([d for d in _ALL if hasattr(d, "q")]), st.floats(0, 1, exclude_max=True))
def test_quantized_values_are_multiples(distribution: Any, coordinate: float) -> None:
    value = value_at(distribution, coordinate)
    assert not isinstance(value, str)
    assert value / distribution.q == pytest.approx(round(value / distribution.q), abs=1e-9)
    assert len(repr(value)) < 12  # not 0.30000000000000004


@given(st.integers(0, 2**31), st.integers(0, 2000))
def test_a_draw_depends_on_seed_and_number_alone(seed: int, number: int) -> None:
    space = {"lr": dist("loguniform", min=-6, max=-1), "units": dist("randint", upper=100)}
    first = drawn(space, [], seed=seed, number=number)
    assert drawn(dict(reversed(space.items())), [], seed=seed, number=number) == first
    # A further parameter leaves the others as they were.
    more = drawn({**space, "a": dist("uniform", min=0, max=1)}, [], seed=seed, number=number)
    assert {name: more[name] for name in first} == first


def test_draws_are_spread_as_the_distribution_says() -> None:
    space = {"x": dist("uniform", min=0, max=1), "n": dist("normal", mu=5, sigma=2)}
    draws = [drawn(space, [], seed=1, number=number) for number in range(2000)]
    xs = [float(draw["x"]) for draw in draws]
    ns = [float(draw["n"]) for draw in draws]
    assert sum(xs) / 2000 == pytest.approx(0.5, abs=0.03)
    assert sum(ns) / 2000 == pytest.approx(5, abs=0.2)
    assert sum(abs(n - 5) < 2 for n in ns) / 2000 == pytest.approx(0.683, abs=0.04)


CONDITIONAL = {
    "optimizer": dist("choice", values=["sgd", "adam"]),
    "momentum": dist("choice", values=[0.0, 0.9], when={"optimizer": ["sgd"]}),
    "nesterov": dist("choice", values=[True, False], when={"momentum": [0.9]}),
}


def test_a_parameter_is_there_where_its_conditions_hold() -> None:
    found = list(combinations(CONDITIONAL, []))
    assert found == [
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": False},
        {"optimizer": "adam"},
    ]
    draws = [drawn(CONDITIONAL, [], seed=0, number=number) for number in range(60)]
    assert all(draw in found for draw in draws)
    assert all(one in draws for one in found)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"a": dist("randint", upper=2, when={"b": [1]})}, "which is no choice"),
        (
            {
                "a": dist("choice", values=[1], when={"b": [1]}),
                "b": dist("choice", values=[1], when={"a": [1]}),
            },
            "depend on each other",
        ),
        (
            {
                "a": dist("choice", values=[1]),
                "b": dist("choice", values=[1], when={"a": [True]}),
            },
            "no value of a",
        ),
    ],
)
def test_a_condition_that_cannot_be_is_refused(space: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ordered(space)


def test_constraints_hold_among_what_is_drawn() -> None:
    space = {
        "low": dist("uniform", min=0, max=1),
        "high": dist("uniform", min=0, max=1),
        "kind": dist("choice", values=["a", "b"]),
    }
    given = constraints(
        {"type": "less_than", "left": "low", "right": "high"},
        {"type": "sum_at_most", "parameters": ["low", "high"], "limit": 1.2},
        {"type": "product_at_most", "parameters": ["low", "high"], "limit": 0.3},
        {"type": "forbidden", "values": {"kind": ["b"]}},
    )
    check_constraints(space, given)
    for draw in (drawn(space, given, seed=3, number=number) for number in range(50)):
        low, high = float(draw["low"]), float(draw["high"])
        assert low < high
        assert low + high <= 1.2
        assert low * high <= 0.3
        assert draw["kind"] == "a"


def test_a_constraint_on_what_is_absent_holds() -> None:
    given = constraints({"type": "less_than", "left": "a", "right": "b"})
    assert satisfies(given, {"a": 1})
    assert not satisfies(given, {"a": 1, "b": 1})


def test_constraints_that_leave_nothing_are_said_to() -> None:
    space = {"a": dist("uniform", min=0, max=1)}
    given = constraints({"type": "sum_at_most", "parameters": ["a"], "limit": -1})
    with pytest.raises(NothingLeft, match="none of 20000 draws"):
        drawn(space, given, seed=0, number=0)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"type": "less_than", "left": "a", "right": "x"}, "names x"),
        ({"type": "sum_at_most", "parameters": ["text"], "limit": 1}, "that are text"),
    ],
)
def test_a_constraint_that_cannot_be_is_refused(document: dict[str, Any], message: str) -> None:
    space = {"a": dist("uniform", min=0, max=1), "text": dist("choice", values=["b"])}
    with pytest.raises(ValueError, match=message):
        check_constraints(space, constraints(document))


@pytest.mark.parametrize(
    "document",
    [
        {"type": "uniform", "min": 1, "max": 1},
        {"type": "uniform", "min": 0, "max": math.inf},
        {"type": "quniform", "min": 0, "max": 1, "q": 0},
        {"type": "loguniform", "min": 0, "max": 1e5},
        {"type": "lognormal", "mu": 600, "sigma": 50},
        {"type": "normal", "mu": 0, "sigma": -1},
        {"type": "choice", "values": []},
        {"type": "choice", "values": [None]},
        {"type": "randint", "upper": 0},
        {"type": "beta", "a": 1},
        {"type": "uniform", "min": 0, "max": 1, "q": 1},
    ],
)
def test_a_distribution_that_cannot_be_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _DISTRIBUTION.validate_python(document)


def test_a_large_grid_is_walked_no_further_than_asked() -> None:
    space = {f"p{number}": dist("choice", values=list(range(10))) for number in range(12)}
    assert len(list(islice(combinations(space, []), 5))) == 5
