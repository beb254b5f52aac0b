"""The history of a metric, and which of its values is the last, as MLflow's servers have it."""

import math

import pytest
from mlflow.entities import Metric

from tests.mlflow.conftest import Space

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("is_batch", [True, False])
@pytest.mark.parametrize("is_reversed", [True, False])
@pytest.mark.parametrize(
    ("points", "last"),
    [
        ([(0, 100, 1000), (3, 40, 100), (3, 50, 10), (3, 50, 20), (-3, 900, 900)], (3, 50, 20)),
        ([(1, 5, 3), (1, 5, 1), (1, 5, 2)], (1, 5, 3)),
        ([(1, 5, 5), (1, 5, INF), (1, 5, -INF)], (1, 5, INF)),
        ([(1, 5, -7), (1, 5, -INF)], (1, 5, -7)),
        ([(1, 5, NAN), (1, 5, 2)], (1, 5, 2)),
        ([(1, 5, 2), (2, 1, 1)], (2, 1, 1)),
    ],
)
def test_of_one_step_and_time_the_greatest_value_is_the_last(
    space: Space,
    points: list[tuple[int, int, float]],
    last: tuple[int, int, float],
    is_reversed: bool,
    is_batch: bool,
) -> None:
    run_id = space.client.create_run("0").info.run_id
    metrics = [Metric("m", value, time, step) for step, time, value in points]
    metrics = metrics[::-1] if is_reversed else metrics
    for batch in [metrics] if is_batch else [[metric] for metric in metrics]:
        space.client.log_batch(run_id, batch)
    params = {"run_id": run_id}
    (found,) = space.call("GET", "runs/get", params=params).json()["run"]["data"]["metrics"]
    assert (found["step"], found["timestamp"], float(found["value"])) == last


def test_a_history_has_infinities_at_the_ends_of_one_moment(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    for value in (5.0, INF, -7.0, -INF):
        space.client.log_metric(run_id, "m", value, timestamp=5, step=1)
    history = space.client.get_metric_history(run_id, "m")
    assert [metric.value for metric in history] == [-INF, -7, 5, INF]
