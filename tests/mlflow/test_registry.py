"""The model registry, as the real client uses it."""

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import LoggedModelParameter, LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException, RestException

from tests.mlflow.conftest import Space

SAVED_MODEL = {"saved_model.pb": b"\x00", "variables/variables.index": b"i"}


def logged_folder(space: Space, tmp_path: Path, name: str = "model") -> str:
    """A run with the files of a SavedModel; returns its id."""
    run_id = str(space.client.create_run("0").info.run_id)
    folder = tmp_path / "saved"
    for path, content in SAVED_MODEL.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    space.client.log_artifacts(run_id, str(folder), name)
    return run_id


def test_a_version_has_the_files_of_the_run_and_is_a_model_of_ours(
    space: Space, tmp_path: Path
) -> None:
    run_id = logged_folder(space, tmp_path)
    space.client.create_registered_model("digits", tags={"t": "1"}, description="reads digits")
    version = space.client.create_model_version(
        "digits", f"runs:/{run_id}/model", run_id, tags={"a": "b"}, description="first"
    )
    assert (version.version, version.status, version.run_id) == ("1", "READY", run_id)
    own = space.http.get("models/digits/versions/1").json()
    assert (own["kind"], own["files_count"], own["lineage"]["run_id"]) == ("saved_model", 2, run_id)
    # What happens to the artifacts afterwards does not touch the version.
    space.client.log_text(run_id, "changed", "model/saved_model.pb")
    address = space.client.get_model_version_download_uri("digits", "1")
    mlflow.set_tracking_uri(space.tracking)
    fetched = Path(mlflow.artifacts.download_artifacts(address, dst_path=str(tmp_path / "back")))
    found = {str(p.relative_to(fetched)): p.read_bytes() for p in fetched.rglob("*") if p.is_file()}
    assert found == SAVED_MODEL


def test_an_address_without_files_is_noted(space: Space) -> None:
    client = space.client
    run = client.create_run("0")
    run_id = run.info.run_id
    client.create_registered_model("digits")
    with pytest.raises(RestException) as missing:
        client.create_model_version("letters", f"runs:/{run_id}/model", run_id)
    assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    sources = ["s3://bucket/model", f"runs:/{run_id}/model", f"{run.info.artifact_uri}/model"]
    for number, source in enumerate(sources, 1):
        version = client.create_model_version("digits", source, run_id)
        assert (version.version, version.status) == (str(number), "READY")
        assert "No files" in str(version.status_message)
        assert client.get_model_version_download_uri("digits", str(number)) == source
        assert space.http.get(f"models/digits/versions/{number}").json()["is_deployable"] is False
    copy = client.copy_model_version("models:/digits/2", "copied")
    assert (copy.source, copy.run_id) == ("models:/digits/2", run_id)
    assert client.get_model_version_download_uri("copied", "1") == f"runs:/{run_id}/model"
    client.delete_model_version("digits", "2")
    assert client.get_model_version_download_uri("copied", "1") == "models:/digits/2"


def test_a_copy_of_very_many_copies_says_what_it_is_of(space: Space) -> None:
    space.client.create_registered_model("m0")
    space.client.create_model_version("m0", "s3://bucket/model")
    for number in range(12):
        space.client.copy_model_version(f"models:/m{number}/1", f"m{number + 1}")
    assert space.client.get_model_version_download_uri("m9", "1") == "s3://bucket/model"
    assert space.client.get_model_version_download_uri("m12", "1") == "models:/m11/1"


def test_a_number_that_no_version_can_have_is_an_address_of_nothing(space: Space) -> None:
    space.client.create_registered_model("digits")
    body = {"name": "digits", "source": f"models:/digits/{'9' * 4301}"}
    refused = space.call("POST", "model-versions/create", json=body)
    assert (refused.status_code, refused.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("/tmp", "To use a local path"),
        ("http://[x", "Invalid model version source"),
        ("file:///etc", "To use a local path"),
        ("mlflow-artifacts://host:9000/models/../../", "If supplying a source as an http"),
        ("https://host/a/..%2f..%2fb", "If supplying a source as an http"),
        ("https://host/%252e%252e/b", "If supplying a source as an http"),
        ("s3://bucket/model%00", "If supplying a source as an http"),
    ],
)
def test_addresses_that_lead_elsewhere_are_refused(space: Space, source: str, said: str) -> None:
    space.client.create_registered_model("digits")
    body = {"name": "digits", "source": source}
    refused = space.call("POST", "model-versions/create", json=body)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert said in refused.json()["message"]


def test_prompts_are_versions_without_an_address(space: Space) -> None:
    space.client.register_prompt("greeting", "Hello {{name}}")
    found = space.client.get_prompt_version("greeting", 1)
    assert found is not None
    assert found.template == "Hello {{name}}"
    assert space.client.search_registered_models() == []


def test_names_in_the_registry_are_refused_in_mlflows_words(space: Space) -> None:
    space.client.create_registered_model("digits")
    cases: list[tuple[str, str, dict[str, Any], str]] = [
        ("GET", "model-versions/get", {"version": "one"}, "'version' must be an integer, got"),
        ("POST", "registered-models/create", {"name": "a/b"}, "Names cannot contain '/' or ':'"),
        ("POST", "registered-models/create", {"name": ""}, "Missing value for required"),
        ("POST", "registered-models/create", {"name": ".."}, "must not resolve to other names"),
        ("POST", "registered-models/alias", {"alias": "a b", "version": "1"}, "Invalid alias name"),
        ("POST", "registered-models/alias", {"version": "1"}, "Missing value for required"),
        ("GET", "registered-models/search", {"max_results": 1001}, "It must be at most 1000"),
        ("GET", "registered-models/search", {"max_results": "9" * 5000}, "Invalid value"),
    ]
    for method, path, given, said in cases:
        content = {"params" if method == "GET" else "json": {"name": "digits", **given}}
        refused = space.call(method, path, **content)
        assert refused.status_code == 400, path
        assert refused.json()["error_code"] == "INVALID_PARAMETER_VALUE"
        assert said in refused.json()["message"]
    space.client.create_model_version("digits", "s3://bucket/model")
    with pytest.raises(RestException, match="'latest' alias name"):
        space.client.set_registered_model_alias("digits", "latest", "1")
    with pytest.raises(RestException, match=r"Model Version .* not found"):
        space.client.get_model_version("nothing", "1")
    space.client.rename_registered_model("digits", "digits")
    assert space.client.get_registered_model("digits").name == "digits"


def test_aliases_stages_and_tags(space: Space, tmp_path: Path) -> None:
    client = space.client
    run_id = logged_folder(space, tmp_path)
    client.create_registered_model("digits")
    for _ in range(3):
        client.create_model_version("digits", f"runs:/{run_id}/model", run_id)
    client.set_registered_model_alias("digits", "champion", "2")
    assert client.get_model_version_by_alias("digits", "champion").version == "2"
    client.set_registered_model_alias("digits", "champion", "3")
    assert client.get_registered_model("digits").aliases == {"champion": "3"}
    assert client.get_model_version("digits", "3").aliases == ["champion"]
    client.delete_registered_model_alias("digits", "champion")
    with pytest.raises(RestException, match="alias champion not found"):
        client.get_model_version_by_alias("digits", "champion")
    with pytest.warns(FutureWarning):
        client.transition_model_version_stage("digits", "1", "Production")
    with pytest.warns(FutureWarning):
        client.transition_model_version_stage(
            "digits", "2", "production", archive_existing_versions=True
        )
    with pytest.warns(FutureWarning):
        latest = client.get_latest_versions("digits")
    assert {v.current_stage: v.version for v in latest} == {
        "Archived": "1", "Production": "2", "None": "3",
    }  # fmt: skip
    assert space.http.get("models/digits/versions/2").json()["stage"] == "Production"
    client.set_model_version_tag("digits", "2", "checked", "yes")
    client.set_registered_model_tag("digits", "team", "a")
    client.update_model_version("digits", "2", "better")
    before = client.get_registered_model("digits").last_updated_timestamp
    with pytest.warns(FutureWarning):
        client.transition_model_version_stage("digits", "3", "Staging")
    changed = client.get_registered_model("digits").last_updated_timestamp
    assert changed == client.get_model_version("digits", "3").last_updated_timestamp > before
    found = client.search_model_versions("name = 'digits' AND tags.checked = 'yes'")
    assert [(v.version, v.description) for v in found] == [("2", "better")]
    assert len(client.search_model_versions(f"run_id = '{run_id}'")) == 3
    first = client.search_model_versions("", max_results=2, order_by=["version_number ASC"])
    assert [v.version for v in first] == ["1", "2"]
    rest = client.search_model_versions(
        "", max_results=2, order_by=["version_number ASC"], page_token=first.token
    )
    assert [v.version for v in rest] == ["3"]


def test_models_are_found_renamed_and_deleted(space: Space) -> None:
    client = space.client
    for name in ("digits", "digits of old", "letters"):
        client.create_registered_model(name)
    with pytest.raises(RestException) as taken:
        client.create_registered_model("digits")
    assert taken.value.error_code == "RESOURCE_ALREADY_EXISTS"
    assert [m.name for m in client.search_registered_models("name LIKE 'digits%'")] == [
        "digits", "digits of old",
    ]  # fmt: skip
    client.rename_registered_model("letters", "characters")
    client.update_registered_model("characters", "all of them")
    assert client.get_registered_model("characters").description == "all of them"
    client.delete_registered_model("characters")
    with pytest.raises(RestException) as gone:
        client.get_registered_model("characters")
    assert gone.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(MlflowException, match="name"):
        client.create_registered_model("a/b")
    listed = space.http.get("models").json()["items"]
    assert [model["name"] for model in listed] == ["digits", "digits of old"]


def test_logged_models_of_version_3(space: Space, tmp_path: Path) -> None:
    client = space.client
    run_id = client.create_run("0").info.run_id
    model = client.create_logged_model(
        "0", "net", run_id, tags={"k": "v"}, params={"lr": "1"}, model_type="keras"
    )
    assert model.status == LoggedModelStatus.PENDING
    source = tmp_path / "model.keras"
    source.write_bytes(b"keras")
    client.log_model_artifact(model.model_id, str(source))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_metric(run_id, "acc", 0.9, step=1, model_id=model.model_id, dataset_name="test",
                      dataset_digest="d")  # fmt: skip
    found = client.get_logged_model(model.model_id)
    assert (found.status, found.source_run_id) == (LoggedModelStatus.READY, run_id)
    assert [(m.key, m.value, m.dataset_name) for m in found.metrics or []] == [("acc", 0.9, "test")]
    # Of each dataset the newest value.
    client.log_metric(run_id, "acc", 0.8, step=0, model_id=model.model_id, dataset_name="test",
                      dataset_digest="d")  # fmt: skip
    client.log_metric(run_id, "acc", 0.7, step=0, model_id=model.model_id)
    found = client.get_logged_model(model.model_id)
    assert [(m.value, m.step, m.dataset_name) for m in found.metrics or []] == [
        (0.7, 0, None), (0.9, 1, "test"),
    ]  # fmt: skip
    listed = client.list_logged_model_artifacts(model.model_id)
    assert [f.path for f in listed] == ["model.keras"]
    own = space.http.get(f"runs/{run_id}/files").json()["items"]
    assert [file["path"] for file in own] == [f"models/{model.model_id}/model.keras"]
    better = client.create_logged_model("0", "net", run_id)
    client.log_batch(run_id, [Metric("acc", 0.95, 1, 1, model_id=better.model_id)])
    best = client.search_logged_models(
        ["0"],
        filter_string="metrics.acc > 0.5 AND name = 'net'",
        order_by=[{"field_name": "metrics.acc", "ascending": False}],
    )
    assert [m.model_id for m in best] == [better.model_id, model.model_id]
    client.set_logged_model_tags(model.model_id, {"k": "w"})
    client.delete_logged_model_tag(model.model_id, "k")
    assert client.get_logged_model(model.model_id).tags == {}
    with pytest.raises(RestException, match="No tag with key"):
        client.delete_logged_model_tag(model.model_id, "k")
    with pytest.raises(RestException, match="cannot contain the following characters"):
        client.create_logged_model("0", "a.b", run_id)
    client.create_registered_model("net")
    version = client.create_model_version(
        "net", f"models:/{model.model_id}", run_id, model_id=model.model_id
    )
    assert version.source == f"models:/{model.model_id}"
    (registered,) = client.search_model_versions(f"run_id = '{run_id}'")
    assert registered.name == "net"
    assert space.http.get("models/net/versions/1").json()["kind"] == "keras"
    client.delete_logged_model(better.model_id)
    assert len(client.search_logged_models(["0"])) == 1


def test_what_older_clients_tell_about_a_model_is_kept(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    told = {"run_id": run_id, "artifact_path": "model", "flavors": {}, "utc_time_created": "now"}
    body = {"run_id": run_id, "model_json": json.dumps(told)}
    assert space.call("POST", "runs/log-model", json=body).status_code == 200
    history = space.client.get_run(run_id).data.tags["mlflow.log-model.history"]
    assert json.loads(history) == [told]
    for tag in ("no JSON", "5"):
        space.client.set_tag(run_id, "mlflow.log-model.history", tag)
        refused = space.call("POST", "runs/log-model", json=body)
        assert refused.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    for wrong, said in (
        ("[", "not a valid JSON"),
        ("[" * 100_000, "not a valid JSON"),
        ("{}", "missing mandatory fields"),
    ):
        body["model_json"] = wrong
        refused = space.call("POST", "runs/log-model", json=body)
        assert refused.json()["error_code"] == "INVALID_PARAMETER_VALUE"
        assert said in refused.json()["message"]


def test_parameters_of_logged_models_are_written_once(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    model = space.client.create_logged_model("0", "net", run_id)
    store = space.client._tracking_client.store
    store.log_logged_model_params(model.model_id, [LoggedModelParameter("a", "1")])
    with pytest.raises(RestException, match="already"):
        store.log_logged_model_params(model.model_id, [LoggedModelParameter("a", "2")])


def test_logged_models_by_the_datasets_they_were_measured_on(space: Space) -> None:
    client = space.client
    measured, _ = client.create_logged_model("0", "a"), client.create_logged_model("0", "b")
    run_id = client.create_run("0").info.run_id
    client.log_metric(run_id, "acc", 1, model_id=measured.model_id, dataset_name="test",
                      dataset_digest="1")  # fmt: skip
    for digest, names in (("1", ["a"]), ("2", [])):
        asked = [{"dataset_name": "test", "dataset_digest": digest}]
        assert [m.name for m in client.search_logged_models(["0"], datasets=asked)] == names


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_a_page_of_logged_models_has_a_size(space: Space, count: int) -> None:
    body = {"experiment_ids": ["0"], "max_results": count}
    refused = space.call("POST", "logged-models/search", json=body)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "max_results" in refused.json()["message"]


def test_a_logged_model_tells_its_versions(space: Space) -> None:
    client = space.client
    model = client.create_logged_model("0", "net")
    client.create_registered_model("digits")
    for count in (1, 2):
        client.create_model_version("digits", model.model_uri, model_id=model.model_id)
        told = client.get_logged_model(model.model_id).tags["mlflow.modelVersions"]
        versions = [{"name": "digits", "version": number} for number in range(1, count + 1)]
        assert json.loads(told) == versions
