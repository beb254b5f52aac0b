"""Searching runs and experiments with MLflow's filter language."""

import math
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.exceptions import RestException

from tests.mlflow.conftest import Space, new_space
from tests.served import Served


@pytest.fixture(scope="module")
def searched(served: Served) -> Iterator[Space]:
    """Four runs: a, b and c with parameters and metrics, d with nothing."""
    with new_space(served) as space:
        make_runs(space.client)
        yield space


def make_runs(client: MlflowClient) -> None:
    found = {}
    for index, name in enumerate("abcd"):
        run = client.create_run("0", start_time=1000 + index, run_name=name)
        found[name] = run
        if name == "d":
            continue
        client.log_batch(
            run.info.run_id,
            [Metric("acc", index / 10, 1, 1), Metric("val/loss", 1 - index / 10, 1, 1)],
            [Param("lr", f"0.{index}"), Param("kind of", "It's")],
            [RunTag("team", "Blue" if index else "red")],
        )
    client.set_terminated(found["a"].info.run_id, "FINISHED", end_time=5000)
    client.set_terminated(found["b"].info.run_id, "FAILED", end_time=6000)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "dcba"),
        ("metrics.acc > 0.05", "cb"),
        ("metrics.acc >= 0.1 AND metrics.acc < 0.2", "b"),
        ("metrics.`val/loss` = 1", "a"),
        ('metrics."val/loss" != 1', "cb"),
        ("params.lr = '0.1'", "b"),
        ("params.lr != '0.1'", "ca"),
        ("params.lr LIKE '0.%' and parameter.lr != '0.0'", "cb"),
        ("params.lr IS NULL", "d"),
        ("params.lr is not null", "cba"),
        ("params.`kind of` = 'It''s'", "cba"),
        ("tags.team = 'Blue'", "cb"),
        ("tags.team ILIKE 'BL%'", "cb"),
        ("tag.team LIKE 'BL%'", ""),
        ("tags.team IS NULL", "d"),
        ("tags.mlflow.runName = 'a'", "a"),
        ("attributes.status = 'RUNNING'", "dc"),
        ("status IN ('FAILED', 'FINISHED')", "ba"),
        ("status NOT IN ('FAILED')", "dca"),
        ("run_name = 'c'", "c"),
        ("attribute.`Run name` LIKE '%b%'", "b"),
        ("start_time >= 1002", "dc"),
        ("attributes.end_time < 5500", "a"),
        ("run.user_id = 'unknown'", "dcba"),
    ],
)
def test_filters(searched: Space, text: str, names: str) -> None:
    found = searched.client.search_runs(["0"], text)
    assert "".join(run.info.run_name or "" for run in found) == names


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (["metrics.acc DESC"], "cbad"),
        (["metrics.acc"], "abcd"),
        (["params.lr desc"], "cbad"),
        (["tags.team ASC", "start_time ASC"], "bcad"),
        (["attributes.end_time ASC"], "abdc"),
        (["start_time"], "abcd"),
        (["status DESC", "attribute.start_time DESC"], "dcab"),
    ],
)
def test_orders(searched: Space, order: list[str], names: str) -> None:
    found = searched.client.search_runs(["0"], order_by=order)
    assert "".join(run.info.run_name or "" for run in found) == names


def test_the_best_runs_come_first_however_many_are_wanted(searched: Space) -> None:
    for order, names in (("DESC", "cbad"), ("ASC", "abcd")):
        for count in range(1, 5):
            found = searched.client.search_runs(
                ["0"], max_results=count, order_by=[f"metrics.acc {order}"]
            )
            assert "".join(run.info.run_name or "" for run in found) == names[:count]


@pytest.fixture(scope="module")
def odd(served: Served) -> Iterator[Space]:
    """Runs whose metric is -∞, 1, 2, ∞, NaN, and one without it."""
    with new_space(served) as space:
        values = {"-": float("-inf"), "1": 1.0, "2": 2.0, "+": float("inf"), "n": float("nan")}
        for name in (*values, "0"):
            run_id = space.client.create_run("0", start_time=1, run_name=name).info.run_id
            if name in values:
                space.client.log_metric(run_id, "acc", values[name])
        yield space


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("metrics.acc > 1", "+2"),
        ("metrics.acc <= 1", "-1"),
        ("metrics.acc != 1", "+-2n"),
        ("metrics.acc = 2", "2"),
    ],
)
def test_infinities_are_compared_and_nan_is_no_number(odd: Space, text: str, names: str) -> None:
    found = odd.client.search_runs(["0"], text)
    assert "".join(sorted(run.info.run_name or "" for run in found)) == names


@pytest.mark.parametrize(("order", "names"), [("ASC", "-12+n0"), ("DESC", "+21-n0")])
@pytest.mark.parametrize("count", [1, 2, 6])
def test_infinities_are_at_the_ends_of_an_order(
    odd: Space, order: str, names: str, count: int
) -> None:
    asked = [f"metrics.acc {order}"]
    found = odd.client.search_runs(["0"], max_results=count, order_by=asked)
    assert "".join(run.info.run_name or "" for run in found) == names[:count]
    if count == 2:
        rest = odd.client.search_runs(["0"], max_results=4, order_by=asked, page_token=found.token)
        assert "".join(run.info.run_name or "" for run in rest) == names[2:]


def test_a_filter_and_an_order_may_be_by_one_metric(odd: Space) -> None:
    for text, order, names in (
        ("metrics.acc != 1", "metrics.acc ASC", "-2+n"),
        ("metrics.acc > 1", "metrics.acc DESC", "+2"),
        ("metrics.acc > 0 AND metrics.acc < 2", "metrics.acc ASC", "1"),
    ):
        found = odd.client.search_runs(["0"], text, order_by=[order])
        assert "".join(run.info.run_name or "" for run in found) == names, text


def test_a_later_order_by_a_metric_has_infinities_at_its_ends(odd: Space) -> None:
    found = odd.client.search_runs(["0"], order_by=["metrics.none ASC", "metrics.acc DESC"])
    assert "".join(run.info.run_name or "" for run in found) == "+21-n0"


def test_pages_go_on_from_numbers_to_what_has_none(searched: Space) -> None:
    names, token = "", ""
    while not names or token:
        found = searched.client.search_runs(
            ["0"], max_results=2, order_by=["metrics.acc DESC"], page_token=token or None
        )
        names += "".join(run.info.run_name or "" for run in found)
        token = found.token
    assert names == "cbad"


def test_pages_hold_together(searched: Space) -> None:
    first = searched.client.search_runs(["0"], max_results=3, order_by=["metrics.acc DESC"])
    assert [run.info.run_name for run in first] == ["c", "b", "a"]
    rest = searched.client.search_runs(
        ["0"], max_results=3, order_by=["metrics.acc DESC"], page_token=first.token
    )
    assert [run.info.run_name for run in rest] == ["d"]
    assert not rest.token
    with pytest.raises(RestException, match="page token"):
        searched.client.search_runs(["0"], page_token=first.token)


@pytest.mark.parametrize(
    "text",
    [
        "metrics.acc",
        "metrics.acc = 'x'",
        "params.lr = 0.1",
        "params.lr > '0.1'",
        "metrics.acc LIKE '1'",
        "acc > 1",
        "colour.acc > 1",
        "metrics.acc > 1 OR metrics.acc < 0",
        "status = 'a' AND OR",
        "status IN ()",
        "start_time = 'a'",
        "dataset.size = 'a'",
        "1 < metrics.acc",
        "'; DROP TABLE runs; --",
    ],
)
def test_what_is_no_filter_is_refused_with_a_reason(searched: Space, text: str) -> None:
    with pytest.raises(RestException) as refused:
        searched.client.search_runs(["0"], text)
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    assert len(refused.value.message) > len("INVALID_PARAMETER_VALUE: ")


def test_runs_that_began_together_come_in_the_order_of_their_ids(space: Space) -> None:
    experiment = space.client.create_experiment("together")
    ids = sorted(space.client.create_run(experiment, start_time=1).info.run_id for _ in range(5))
    first = space.client.search_runs([experiment], max_results=3)
    rest = space.client.search_runs([experiment], max_results=3, page_token=first.token)
    assert [run.info.run_id for run in (*first, *rest)] == ids


def test_runs_by_what_they_have_read(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    dataset = Dataset("digits", "abc", "local", "{}", schema="{}")
    tags = [InputTag("mlflow.data.context", "train")]
    for _ in range(2):
        space.client.log_inputs(run_id, [DatasetInput(dataset, tags)])
    inputs = space.client.get_run(run_id).inputs
    assert inputs is not None
    (read,) = inputs.dataset_inputs
    assert (read.dataset.name, read.tags[0].value) == ("digits", "train")
    for text in ("dataset.name = 'digits'", "datasets.context IN ('train')"):
        assert len(space.client.search_runs(["0"], text)) == 1
    assert space.client.search_runs(["0"], "dataset.digest = 'x'") == []
    path = "experiments/search-datasets"
    found = space.call("POST", path, json={"experiment_ids": ["0"]}).json()
    assert found["dataset_summaries"] == [
        {"experiment_id": "0", "name": "digits", "digest": "abc", "context": "train"}
    ]
    for ids, said in (([], "at least one"), (["0"] * 21, "more than 20")):
        refused = space.call("POST", path, json={"experiment_ids": ids})
        assert refused.json()["error_code"] == "INVALID_PARAMETER_VALUE"
        assert said in refused.json()["message"]


def test_experiments_have_a_life_of_their_own(space: Space) -> None:
    client = space.client
    first = client.create_experiment("one", tags={"team": "a"})
    named = client.get_experiment_by_name("one")
    assert named is not None
    assert named.experiment_id == first
    assert client.get_experiment_by_name("none") is None
    with pytest.raises(RestException) as taken:
        client.create_experiment("one")
    assert taken.value.error_code == "RESOURCE_ALREADY_EXISTS"
    run_id = client.create_run(first).info.run_id
    client.set_experiment_tag(first, "k", "v")
    client.rename_experiment(first, "eins")
    assert client.get_experiment(first).name == "eins"
    assert client.get_experiment(first).tags == {"team": "a", "k": "v"}
    found = client.search_experiments(filter_string="name LIKE 'e%' AND tags.k = 'v'")
    assert [row.name for row in found] == ["eins"]
    assert {row.name for row in client.search_experiments()} == {"Default", "eins"}
    client.delete_experiment(first)
    assert client.get_experiment(first).lifecycle_stage == "deleted"
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    assert [row.name for row in client.search_experiments()] == ["Default"]
    (gone,) = client.search_experiments(view_type=ViewType.DELETED_ONLY)
    assert gone.name == "eins"
    with pytest.raises(RestException, match="must be in the 'active' state"):
        client.create_run(first)
    with pytest.raises(RestException) as taken:
        client.create_experiment("eins")
    assert taken.value.error_code == "RESOURCE_ALREADY_EXISTS"
    with pytest.raises(RestException, match="No Experiment with id") as gone_already:
        client.delete_experiment(first)
    assert gone_already.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    client.restore_experiment(first)
    assert client.get_run(run_id).info.lifecycle_stage == "active"
    with pytest.raises(RestException, match="No Experiment with id"):
        client.restore_experiment(first)
    client.delete_experiment_tag(first, "k")
    with pytest.raises(RestException, match="No tag with name: k"):
        client.delete_experiment_tag(first, "k")


def test_artifacts_of_an_experiment_stay_here(space: Space) -> None:
    with pytest.raises(RestException, match="leave artifact_location out"):
        space.client.create_experiment("elsewhere", artifact_location="s3://bucket")


def test_a_long_search_finds_the_same(searched: Space) -> None:
    text = f"metrics.acc > 0.05 and tags.team != '{'x' * 3000}'"

    found = searched.client.search_runs(["0"], text, order_by=["metrics.acc ASC"])

    assert [run.info.run_name for run in found] == ["b", "c"]


def test_what_a_run_has_is_the_same_alone_and_among_others(space: Space) -> None:
    client = space.client
    run_id = client.create_run("0").info.run_id
    params = {"quoted": 'a "b" \\ c', "lines": "one\ntwo\ttabs", "signs": "λ → 🙂, {}[]':"}
    numbers = {"far": -math.inf, "small": 5e-324, "large": 1.7976931348623157e308, "whole": 3.0}
    client.log_batch(
        run_id,
        [Metric(name, value, 1700000000123, -2) for name, value in numbers.items()],
        [Param(key, value) for key, value in params.items()],
    )
    client.log_metric(run_id, "odd", math.nan)

    alone = client.get_run(run_id)
    (among,) = client.search_runs(["0"])

    assert alone.data.params == among.data.params == params
    for found in (alone.data.metrics, among.data.metrics):
        assert math.isnan(found.pop("odd"))
        assert found == numbers
    answer = space.call("POST", "runs/search", json={"experiment_ids": ["0"]}).json()["runs"][0]
    assert answer == space.call("GET", f"runs/get?run_id={run_id}").json()["run"]
    large = next(it for it in answer["data"]["metrics"] if it["key"] == "large")
    assert large == {"key": "large", "value": 1.7976931348623157e308, "timestamp": 1700000000123,
                     "step": -2}  # fmt: skip
