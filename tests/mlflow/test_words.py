"""What is left out, what is too long, and what is no name: in the words of MLflow's servers."""

from typing import Any

import pytest
from mlflow.entities import Dataset, DatasetInput
from mlflow.exceptions import RestException

from tests.mlflow.conftest import Space


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("runs/search", {"experiment_ids": ["0"], "filter": None, "run_view_type": None}),
        ("runs/create", {"experiment_id": None, "run_name": None, "tags": None}),
        ("experiments/create", {"name": "n", "artifact_location": None, "tags": None}),
        ("experiments/search", {"filter": None, "order_by": None, "page_token": None}),
        ("registered-models/create", {"name": "m", "description": None, "tags": None}),
    ],
)
def test_null_is_left_out(space: Space, path: str, body: dict[str, Any]) -> None:
    assert space.call("POST", path, json=body).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("log-metric", {"key": "m", "value": 1, "timestamp": 1, "step": None, "model_id": None}),
        ("log-batch", {"metrics": [{"key": "m", "value": 2, "timestamp": 1, "step": None}]}),
        ("log-parameter", {"key": "p", "value": None}),
        ("set-tag", {"key": "t", "value": None}),
        ("delete-tag", {"key": "old"}),
        ("log-inputs", {"models": None, "datasets": [{"tags": None, "dataset": {
            "name": "n", "digest": "d", "source_type": None, "source": "{}", "schema": None}}]}),
        ("update", {"status": None}),
        ("delete", {}),
        ("restore", {}),
    ],
)  # fmt: skip
def test_null_is_left_out_of_what_is_said_of_a_run(
    space: Space, path: str, body: dict[str, Any]
) -> None:
    run_id = space.client.create_run("0", tags={"old": "1"}).info.run_id
    sent = {**body, "run_id": run_id, "run_uuid": None}
    answer = space.call("POST", f"runs/{path}", json=sent)
    assert answer.status_code == 200, answer.text
    assert all(metric.step == 0 for metric in space.client.get_metric_history(run_id, "m"))


def test_a_run_may_have_its_former_field_alone(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    body = {"run_id": None, "run_uuid": run_id, "key": "t", "value": "1"}
    assert space.call("POST", "runs/set-tag", json=body).status_code == 200
    refused = space.call("POST", "runs/set-tag", json=body | {"run_uuid": None}).json()
    assert refused["message"] == "Missing value for required parameter 'run_id'."


def test_null_where_something_must_be_is_missing(space: Space) -> None:
    refused = space.call("POST", "experiments/create", json={"name": None})
    assert refused.json()["message"] == "Missing value for required parameter 'name'."


def test_a_search_for_logged_models_names_experiments(space: Space) -> None:
    for body in ({}, {"filter": "name = 'a'"}, {"experiment_ids": None}):
        refused = space.call("POST", "logged-models/search", json=body)
        assert refused.status_code == 400
        assert refused.json()["error_code"] == "INVALID_PARAMETER_VALUE"
        said = "Missing value for required parameter 'experiment_ids'."
        assert refused.json()["message"] == said
    # Said so, none is none.
    found = space.call("POST", "logged-models/search", json={"experiment_ids": []})
    assert (found.status_code, found.json().get("models", [])) == (200, [])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("params", "Invalid value \"../x\" for parameter 'params[1].key' supplied: Names may be"),
        ("tags", "Invalid value \"../x\" for parameter 'tags[1].key' supplied: Names may be"),
        ("metrics", "Invalid value \"../x\" for parameter 'metrics[1].name' supplied: Names may"),
    ],
)
def test_a_name_that_cannot_be_is_shown_in_its_place(space: Space, kind: str, said: str) -> None:
    run_id = space.client.create_run("0").info.run_id
    number = {"value": 1, "timestamp": 1} if kind == "metrics" else {"value": "1"}
    body = {"run_id": run_id, kind: [{"key": key, **number} for key in ("ok", "../x")]}
    refused = space.call("POST", "runs/log-batch", json=body)
    assert refused.json()["message"].startswith(said)


def test_what_is_too_long_is_named_without_its_place(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    with pytest.raises(RestException, match="'digest' exceeds the maximum length of 36 characters"):
        space.client.log_inputs(run_id, [DatasetInput(Dataset("n", "d" * 37, "local", "{}"))])
    experiment = space.client.create_experiment("short")
    with pytest.raises(RestException, match="'name' exceeds the maximum length of 500 characters"):
        space.client.rename_experiment(experiment, "x" * 501)


def test_a_page_token_that_is_none(space: Space) -> None:
    for token, said in (("evil hax", "could not base64-decode"), ("e30=", "not one of this")):
        with pytest.raises(RestException, match=f"Invalid page token.*{said}") as refused:
            space.client.search_runs(["0"], page_token=token)
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("version", ["-1", "0", "99999999999", "9" * 40])
def test_a_number_that_no_version_has(space: Space, version: str) -> None:
    space.client.create_registered_model("digits")
    with pytest.raises(RestException, match=rf"\(name=digits, version={version}\) not") as missing:
        space.client.get_model_version("digits", version)
    assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a/b", "Invalid model name 'a/b'"),
        (" ", "Missing value for required parameter 'name'"),
        ("..", "must not resolve to other names"),
    ],
)
def test_a_name_that_no_model_can_have(space: Space, name: str, said: str) -> None:
    for path in ("registered-models/get", "model-versions/get", "registered-models/alias"):
        params = {"name": name, "version": "1", "alias": "best"}
        refused = space.call("GET", path, params=params).json()
        assert refused["error_code"] == "INVALID_PARAMETER_VALUE"
        assert said in refused["message"]


def test_the_experiment_with_the_fixed_name_keeps_it(space: Space) -> None:
    client = space.client
    for _ in range(2):  # before it is made, and afterwards
        with pytest.raises(RestException, match=r"Experiment\(name=Default\) already exists"):
            client.create_experiment("Default")
    other = client.create_experiment("other")
    with pytest.raises(RestException, match=r"Experiment\(name=Default\) already exists"):
        client.rename_experiment(other, "Default")
    with pytest.raises(RestException, match="cannot be renamed here") as refused:
        client.rename_experiment("0", "mine")
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    client.delete_experiment("0")
    with pytest.raises(RestException, match="The experiment 0 must be in the 'active' state"):
        client.create_run("0")


def test_a_run_begins_with_tags_of_any_name(space: Space) -> None:
    run = space.client.create_run("0", tags={"cost in $": "5"})
    assert run.data.tags["cost in $"] == "5"
    assert space.client.get_run(run.info.run_id).data.tags["cost in $"] == "5"
    space.client.delete_tag(run.info.run_id, "cost in $")
    with pytest.raises(RestException, match="Invalid value"):
        space.client.set_tag(run.info.run_id, "cost in $", "5")


def test_the_number_of_a_version_may_be_quoted(space: Space) -> None:
    space.client.create_registered_model("digits")
    for _ in range(3):
        space.client.create_model_version("digits", "s3://bucket/digits")
    for text in ("version_number = '2'", "name = 'digits' AND version_number = 2"):
        assert [found.version for found in space.client.search_model_versions(text)] == ["2"]
    with pytest.raises(RestException, match="Expected numeric value"):
        space.client.search_model_versions("version_number = 'two'")


def test_only_tags_and_parameters_are_asked_for_null(space: Space) -> None:
    said = "IS NULL / IS NOT NULL is only supported for tags"
    for text in ("metrics.m IS NULL", "end_time IS NOT NULL", "dataset.name IS NULL"):
        with pytest.raises(RestException, match=said):
            space.client.search_runs(["0"], text)
    with pytest.raises(RestException, match=said):
        space.client.search_experiments(filter_string="name IS NULL")
