"""Models that are logged outside of runs: they have files of their own, and no run is made up."""

import json
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import RestException

from tests.mlflow.conftest import Space, new_space
from tests.mlflow.test_access import begin_attempt, submit
from tests.served import Served


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Return a file of a model."""
    path = tmp_path / "weights.bin"
    path.write_bytes(b"weights")
    return path


def test_its_whole_life(space: Space, weights: Path, tmp_path: Path) -> None:
    client = space.client
    model = client.create_logged_model("0", "alone", tags={"team": "a"}, params={"lr": "0.1"})
    assert (model.source_run_id or "", client.search_runs(["0"])) == ("", [])
    client.log_model_artifact(model.model_id, str(weights))
    folder = tmp_path / "assets"
    folder.mkdir()
    (folder / "vocabulary.txt").write_text("a b")
    client.log_model_artifacts(model.model_id, str(folder))
    listed = client.list_logged_model_artifacts(model.model_id)
    assert [(f.path, f.file_size) for f in listed] == [("vocabulary.txt", 3), ("weights.bin", 7)]
    where = model.artifact_location
    fetched = Path(mlflow.artifacts.download_artifacts(where, tracking_uri=space.tracking))
    assert (fetched / "weights.bin").read_bytes() == b"weights"
    assert client.finalize_logged_model(model.model_id, "READY").status == "READY"
    client.set_logged_model_tags(model.model_id, {"stage": "new"})
    client.delete_logged_model_tag(model.model_id, "team")
    found = client.search_logged_models(["0"], filter_string="params.lr = '0.1'")
    assert [(one.name, one.tags) for one in found] == [("alone", {"stage": "new"})]
    client.delete_logged_model(model.model_id)
    assert client.search_logged_models(["0"]) == []
    with pytest.raises(RestException, match="not found"):
        client.get_logged_model(model.model_id)


def test_the_client_makes_one_by_itself(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow.set_tracking_uri(space.tracking)
    try:
        model = mlflow.initialize_logged_model("prepared", params={"lr": "0.1"})
        mlflow.log_model_params({"depth": "3"}, model_id=model.model_id)
        mlflow.finalize_logged_model(model.model_id, "FAILED")
        told = mlflow.get_logged_model(model.model_id)
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    assert (told.status, told.params) == ("FAILED", {"lr": "0.1", "depth": "3"})
    assert space.client.search_runs(["0"]) == []


def test_it_is_searched_by_its_run_as_others_are(space: Space) -> None:
    client = space.client
    run_id = client.create_run("0").info.run_id
    client.create_logged_model("0", "alone")
    client.create_logged_model("0", "made", run_id)
    for condition, names in (
        (f"source_run_id = '{run_id}'", ["made"]),
        (f"source_run_id != '{run_id}'", ["alone"]),
    ):
        found = client.search_logged_models(["0"], filter_string=condition)
        assert [model.name for model in found] == names


def test_it_is_registered_with_its_files(space: Space, weights: Path) -> None:
    client = space.client
    model = client.create_logged_model("0", "alone")
    client.log_model_artifact(model.model_id, str(weights))
    client.create_registered_model("kept")
    for source in (model.artifact_location, model.model_uri):
        version = client.create_model_version("kept", source, model_id=model.model_id)
        assert not version.run_id
        files = space.http.get(f"models/kept/versions/{version.version}/files").json()["items"]
        assert [file["path"] for file in files] == ["weights.bin"]
    told = client.get_logged_model(model.model_id).tags["mlflow.modelVersions"]
    assert [one["version"] for one in json.loads(told)] == [1, 2]


def test_runs_use_and_measure_it(space: Space) -> None:
    client = space.client
    model = client.create_logged_model("0", "alone")
    run_id = client.create_run("0").info.run_id
    client.log_metric(run_id, "acc", 0.5, model_id=model.model_id)
    measured = client.get_logged_model(model.model_id).metrics or []
    assert [(metric.key, metric.run_id) for metric in measured] == [("acc", run_id)]


def test_files_of_it_are_replaced_and_removed(space: Space, weights: Path) -> None:
    client = space.client
    model = client.create_logged_model("0", "alone")
    client.log_model_artifact(model.model_id, str(weights))
    weights.write_bytes(b"other")
    client.log_model_artifact(model.model_id, str(weights))
    assert client.list_logged_model_artifacts(model.model_id)[0].file_size == 5
    below = f"0/models/{model.model_id}/artifacts"
    base = f"{space.tracking}/api/2.0/mlflow-artifacts/artifacts/{below}"
    assert space.http.get(f"{base}/weights.bin").content == b"other"
    refused = space.http.put(f"{base}/weights.bin/more", content=b"x")
    assert (refused.status_code, refused.json()["error_code"]) == (409, "RESOURCE_CONFLICT")
    space.http.delete(base).raise_for_status()
    assert client.list_logged_model_artifacts(model.model_id) == []


def test_it_is_not_there_for_scripts(served: Served, space: Space, weights: Path) -> None:
    script = {"Authorization": f"Bearer {begin_attempt(served, space, submit(space))}"}
    client = space.client
    model = client.create_logged_model("0", "alone")
    client.log_model_artifact(model.model_id, str(weights))
    one = f"{space.tracking}/api/2.0/mlflow/logged-models/{model.model_id}"
    below = model.artifact_location.removeprefix("mlflow-artifacts:/")
    file = f"{space.tracking}/api/2.0/mlflow-artifacts/artifacts/{below}/weights.bin"
    for address in (one, file):
        assert space.http.get(address, headers=script).status_code == 404
    client.create_registered_model("kept")
    client.create_model_version("kept", model.artifact_location, model_id=model.model_id)
    for address in (one, file):
        assert space.http.get(address, headers=script).status_code == 200
    for method, address in (("PUT", file), ("DELETE", file), ("DELETE", one)):
        assert space.http.request(method, address, headers=script).status_code == 404
    assert space.http.get(file).content == b"weights"


def test_a_script_does_not_open_it_by_registering_it(
    space: Space, served: Served, weights: Path
) -> None:
    script = {"Authorization": f"Bearer {begin_attempt(served, space, submit(space))}"}
    model = space.client.create_logged_model("0", "alone")
    space.client.log_model_artifact(model.model_id, str(weights))
    below = model.artifact_location.removeprefix("mlflow-artifacts:/")
    file = f"{space.tracking}/api/2.0/mlflow-artifacts/artifacts/{below}/weights.bin"
    space.client.create_registered_model("kept")
    body = {"name": "kept", "source": "s3://x/y", "model_id": model.model_id}

    made = space.call("POST", "model-versions/create", json=body, headers=script)

    assert made.status_code == 404
    assert space.http.get(file, headers=script).status_code == 404


def test_a_version_of_another_workspace_opens_nothing(
    space: Space, served: Served, weights: Path
) -> None:
    script = {"Authorization": f"Bearer {begin_attempt(served, space, submit(space))}"}
    model = space.client.create_logged_model("0", "alone")
    with new_space(served) as other:
        other.client.create_registered_model("theirs")
        body = {"name": "theirs", "source": "s3://x/y", "model_id": model.model_id}
        made = other.call("POST", "model-versions/create", json=body)
        assert made.status_code == 404
    path = f"logged-models/{model.model_id}"
    assert space.call("GET", path, headers=script).status_code == 404
