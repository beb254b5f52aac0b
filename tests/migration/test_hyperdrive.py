"""From v1's description of a sweep to the API's: what has no counterpart there word by word."""

from types import SimpleNamespace

import pytest

from trainwright.azureml.train._sweep_body import resumed_ids, sweep_body
from trainwright.azureml.train.hyperdrive import (
    BayesianParameterSampling,
    GridParameterSampling,
    HyperDriveConfig,
    PrimaryMetricGoal,
    RandomParameterSampling,
    _without,
    choice,
)


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["--x", 5, "--y", 6], ["--y", 6]),
        (["--x=5", "--y", 6], ["--y", 6]),
        (["--x=5", "kept", "--y=6"], ["kept", "--y=6"]),
        (["--x", "--y", 6], ["--y", 6]),
        (["--xy=5", "--x-y", 6], ["--xy=5", "--x-y", 6]),
    ],
)
def test_what_the_sweep_gives_is_taken_out_of_the_arguments(
    arguments: list[object], kept: list[object]
) -> None:
    assert _without(arguments, {"x": None}) == kept
    assert _without(arguments, {"--x": None}) == kept


@pytest.mark.parametrize(
    ("sampling", "learnt"),
    [
        (BayesianParameterSampling, ["sweep_1"]),
        (RandomParameterSampling, []),
        (GridParameterSampling, []),
    ],
)
def test_earlier_sweeps_are_learnt_from_by_what_learns(sampling: type, learnt: list[str]) -> None:
    config = HyperDriveConfig(
        hyperparameter_sampling=sampling({"x": choice(1, 2)}),
        primary_metric_name="loss",
        primary_metric_goal=PrimaryMetricGoal.MINIMIZE,
        max_total_runs=2,
        resume_from=SimpleNamespace(id="sweep_1"),
    )
    assert sweep_body(config)["warm_start_from"] == learnt
    assert resumed_ids(config) == ["sweep_1"]
