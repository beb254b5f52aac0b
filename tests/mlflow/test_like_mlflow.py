"""Small things in which clients notice whether this is MLflow: orders, operators, words."""

import math

import pytest
from mlflow.entities import Dataset, DatasetInput
from mlflow.exceptions import RestException

from tests.mlflow.conftest import Space


def test_datasets_of_a_run_come_in_the_order_in_which_they_were_noted(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    noted = ["train", "eval", "a", "z", "b"]
    for names in (noted[:2], noted[2:], ["a", "train"]):
        found = [DatasetInput(Dataset(name, name, "local", "{}"), []) for name in names]
        space.client.log_inputs(run_id, found)
    for run in (space.client.get_run(run_id), space.client.search_runs(["0"])[0]):
        assert run.inputs is not None
        assert [read.dataset.name for read in run.inputs.dataset_inputs] == noted


@pytest.fixture
def measured(space: Space) -> Space:
    """Logged models after the values of their metric."""
    run_id = space.client.create_run("0").info.run_id
    values = {"inf": math.inf, "minus": -math.inf, "nan": math.nan, "one": 1.0, "two": 2.0}
    for number, (name, value) in enumerate(values.items()):
        model_id = space.client.create_logged_model("0", name, tags={"t": name}).model_id
        space.client.log_metric(run_id, "x", value, model_id=model_id)
        for digest, on in (("up", number), ("down", -number)):
            space.client.log_metric(
                run_id, "y", on, model_id=model_id, dataset_name="d" + digest, dataset_digest=digest
            )
    return space


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("metrics.x > 1", {"inf", "two"}),
        ("metrics.x < 0", {"minus"}),
        ("metrics.x >= 1e300", {"inf"}),
        ("metrics.x != 1", {"inf", "minus", "nan", "two"}),
        ("tags.t IN ('one', 'two')", {"one", "two"}),
        ("tags.t NOT IN ('one', 'two')", {"inf", "minus", "nan"}),
        ("creation_timestamp_ms > 0 AND name = 'one'", {"one"}),
    ],
)
def test_logged_models_by_infinities_and_lists(measured: Space, text: str, names: set[str]) -> None:
    found = measured.client.search_logged_models(["0"], text)
    assert {model.name for model in found} == names


def test_logged_models_in_the_order_of_infinities(measured: Space) -> None:
    order = [{"field_name": "metrics.x", "ascending": False}]
    found = measured.client.search_logged_models(["0"], order_by=order)
    assert [model.name for model in found] == ["inf", "two", "one", "minus", "nan"]
    model = measured.client.get_logged_model(found[0].model_id)
    assert model.metrics is not None
    assert math.inf in [metric.value for metric in model.metrics]


@pytest.mark.parametrize(("digest", "first"), [("up", "inf"), ("down", "two")])
def test_logged_models_in_the_order_on_a_digest(measured: Space, digest: str, first: str) -> None:
    order = [{"field_name": "metrics.y", "dataset_digest": digest}]
    assert measured.client.search_logged_models(["0"], order_by=order)[0].name == first


@pytest.mark.parametrize(
    "text", ["Foo", "name = 'a' OR name = 'b'", "name ! 'a'"], ids=["word", "or", "operator"]
)
def test_what_is_no_filter_of_logged_models(space: Space, text: str) -> None:
    with pytest.raises(RestException, match="Invalid filter string"):
        space.client.search_logged_models(["0"], text)


def test_versions_of_no_run_are_those_whose_run_is_empty(space: Space) -> None:
    space.client.create_registered_model("digits")
    run_id = space.client.create_run("0").info.run_id
    space.client.create_model_version("digits", "s3://bucket/a")
    space.client.create_model_version("digits", "s3://bucket/b", run_id=run_id)
    for text, versions in (
        ("run_id != 'abc'", ["2", "1"]),
        ("run_id NOT IN ('abc')", ["2", "1"]),
        ("run_id IN ('')", ["1"]),
        (f"run_id = '{run_id}'", ["2"]),
    ):
        found = space.client.search_model_versions(text)
        assert [version.version for version in found] == versions, text


def test_a_tag_of_a_version_leaves_its_place(space: Space) -> None:
    space.client.create_registered_model("digits")
    for _ in range(3):
        space.client.create_model_version("digits", "s3://bucket/a")
    space.client.set_model_version_tag("digits", "1", "t", "x")
    found = space.client.search_model_versions("name = 'digits'")
    assert [version.version for version in found] == ["3", "2", "1"]


@pytest.mark.parametrize("key", ["run_id", "source_path"])
def test_versions_are_not_ordered_by_texts(space: Space, key: str) -> None:
    with pytest.raises(RestException, match=f"Invalid attribute key '{key}' specified"):
        space.client.search_model_versions(order_by=["name ASC", f"{key} DESC"])


@pytest.mark.parametrize("key", ["creation_timestamp", "run_id"])
def test_models_are_ordered_by_name_or_time(space: Space, key: str) -> None:
    with pytest.raises(RestException, match=f"Invalid order by key '{key}' specified"):
        space.client.search_registered_models(order_by=["name ASC", f"{key} DESC"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name!=something", "either not quoted or unidentified quote types .* value something"),
        ("name IN ()", "expected a non-empty list of string values, but got empty list"),
        ("name IN (,)", "but got ill-formed list"),
        ("name IN ('a',,'b')", "but got ill-formed list"),
        ("name IN ('a' 'b')", "but got ill-formed list"),
        ("name IN (1, 2)", "got different type in list"),
    ],
)
def test_values_that_are_none(space: Space, text: str, said: str) -> None:
    with pytest.raises(RestException, match=said):
        space.client.search_model_versions(text)


def test_a_key_may_stand_in_single_quotes(space: Space) -> None:
    run_id = space.client.create_run("0", tags={"a b": "x"}).info.run_id
    (found,) = space.client.search_runs(["0"], "tags.'a b' = 'x'")
    assert found.info.run_id == run_id


def test_a_run_that_is_said_to_have_failed_after_all_has_not_ended_later(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    space.client.set_terminated(run_id, "FINISHED", end_time=1000)
    space.client.update_run(run_id, "FAILED")
    info = space.client.get_run(run_id).info
    assert (info.status, info.end_time) == ("FAILED", 1000)


@pytest.mark.parametrize(("given", "status"), [("yes", 400), (1, 400), ("True", 200), (False, 200)])
def test_versions_are_archived_when_it_is_true(space: Space, given: object, status: int) -> None:
    space.client.create_registered_model("digits")
    space.client.create_model_version("digits", "s3://bucket/a")
    body = {"name": "digits", "version": "1", "stage": "Production"}
    answer = space.call(
        "POST",
        "model-versions/transition-stage",
        json={**body, "archive_existing_versions": given},
    )
    assert answer.status_code == status, answer.text
