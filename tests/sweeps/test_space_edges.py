"""Search spaces at their edges: doubles, huge numbers, constraints that leave little."""

import subprocess
from typing import Any

import pytest
from pydantic import ValidationError

from app.runs.schemas import RunCreate
from app.sweeps.distributions import value_at
from app.sweeps.past import Past
from app.sweeps.proposing import next_values
from app.sweeps.schemas import SweepCreate
from app.sweeps.space import NothingLeft, combinations, drawn, tried
from app.sweeps.template import filled
from tests.sweeps.test_space import constraints, dist

RUN = {"experiment_name": "e", "snapshot_id": "s", "cluster_name": "c", "entry_script": "a.py"}


def request(**values: Any) -> SweepCreate:
    return SweepCreate.model_validate(
        {
            "trial": RUN,
            "search_space": {"x": {"type": "uniform", "min": 0, "max": 1}},
            "algorithm": {"type": "random"},
            "objective": {"primary_metric": "loss", "goal": "minimize"},
            "limits": {"max_trials": 3},
            **values,
        }
    )


@pytest.mark.parametrize(
    "document",
    [
        {"type": "quniform", "min": 0, "max": 1e300, "q": 1e-300},
        {"type": "qloguniform", "min": 0, "max": 700, "q": 1e-300},
        {"type": "qnormal", "mu": 1e300, "sigma": 1, "q": 1e-10},
        {"type": "qlognormal", "mu": 600, "sigma": 1, "q": 1e-10},
        {"type": "choice", "values": [10**400]},
        {"type": "choice", "values": [float("nan")]},
        {"type": "choice", "values": [1, float("inf")]},
    ],
)
def test_numbers_that_no_float_holds_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        dist(**document)


@pytest.mark.parametrize(
    "distribution",
    [
        dist("quniform", min=0, max=1e300, q=1e299),
        dist("qnormal", mu=1e300, sigma=1e300, q=1e290),
        dist("uniform", min=-1e300, max=1e300),
        dist("qlognormal", mu=600, sigma=10, q=1e300),
    ],
)
def test_the_largest_numbers_give_values(distribution: Any) -> None:
    for place in (0.0, 0.3, 0.999):
        # What is proposed is taken by the same rules when it is shown.
        dist("choice", values=[value_at(distribution, place)])


def test_a_grid_tries_no_combination_twice() -> None:
    space = {"a": dist("choice", values=[1, 1, 2, 1.0]), "b": dist("choice", values=["x", "x"])}
    assert list(combinations(space, [])) == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}]
    flags = {"a": dist("choice", values=[1, True])}
    assert list(combinations(flags, [])) == [{"a": 1}, {"a": True}]


def test_a_batch_of_a_grid_goes_on_where_the_last_one_ended() -> None:
    spec = request(
        algorithm={"type": "grid"},
        search_space={"a": {"type": "choice", "values": list(range(5))}},
    )
    found = [next_values(spec, [], seed=1, numbers=range(at, at + 2)) for at in (0, 2, 4, 6)]
    assert found == [[{"a": 0}, {"a": 1}], [{"a": 2}, {"a": 3}], [{"a": 4}], []]


def test_constraints_that_hold_seldom_are_refused_before_a_sweep_begins() -> None:
    space = {"x": dist("uniform", min=0, max=1)}

    def below(limit: float) -> Any:
        return constraints({"type": "sum_at_most", "parameters": ["x"], "limit": limit})

    assert float(tried(space, below(0.01))["x"]) <= 0.01
    with pytest.raises(NothingLeft, match="too seldom"):
        tried(space, below(0.0001))
    # What is accepted is found for every trial of the largest sweep.
    assert all(drawn(space, below(0.005), seed=3, number=number) for number in range(100))


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
@pytest.mark.parametrize("kind", ["gp", "tpe"])
def test_huge_values_stop_no_sampler(kind: str, goal: str) -> None:
    spec = request(algorithm={"type": kind}, objective={"primary_metric": "loss", "goal": goal})
    past = [
        Past({"x": number / 20}, "completed", (-1) ** number * 1.7e308, 1) for number in range(20)
    ]
    (values,) = next_values(spec, past, seed=1, numbers=[20])
    assert 0 <= float(values["x"]) <= 1


@pytest.mark.parametrize("value", ["plain", "two words", "it's", 'say "$HOME" `x` \\\\', ""])
def test_a_place_in_a_shell_line_is_one_word_whatever_its_quotes(value: str) -> None:
    line = (
        "printf '%s\\n' ${{search_space.x}} '${{search_space.x}}' \"${{search_space.x}}\" "
        """it\\'s '<${{ search_space.x }}>'"""
    )
    spec = request(search_space={"x": {"type": "choice", "values": [value]}})
    trial = RunCreate.model_validate({**RUN, "entry_script": None, "command": line})
    command = filled(trial, {"x": value}, space=spec.search_space).command
    said = subprocess.run(
        ["/bin/sh", "-c", str(command)], capture_output=True, text=True, check=True, timeout=10
    )
    assert said.stdout.splitlines() == [value, value, value, "it's", f"<{value}>"]


def test_an_empty_choice_is_a_value_and_no_flag() -> None:
    space = request(search_space={"x": {"type": "choice", "values": ["", "a"]}}).search_space
    trial = RunCreate.model_validate({**RUN, "arguments": ["--last"]})
    assert filled(trial, {"x": ""}, space=space).arguments == ["--x", "", "--last"]
    assert filled(trial, {"x": "a"}, space=space).script_params == {"--x": "a"}
