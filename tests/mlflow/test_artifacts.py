"""Artifacts, as the real client moves them."""

from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from requests import HTTPError

from tests.mlflow.conftest import Space


def test_artifacts_are_files_of_the_run(space: Space, tmp_path: Path) -> None:
    run = space.client.create_run("0")
    run_id = run.info.run_id
    assert run.info.artifact_uri == f"mlflow-artifacts:/0/{run_id}/artifacts"
    source = tmp_path / "notes.txt"
    source.write_bytes(b"some bytes")
    folder = tmp_path / "plots"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.svg").write_text("<svg/>")
    (folder / "deep" / "b.svg").write_text("<svg>b</svg>")
    space.client.log_artifact(run_id, str(source))
    space.client.log_artifacts(run_id, str(folder), "plots")
    space.client.log_text(run_id, "naïve", "texts/with space ü.txt")
    listed = space.client.list_artifacts(run_id)
    assert [(f.path, f.is_dir, f.file_size) for f in listed] == [
        ("notes.txt", False, 10), ("plots", True, None), ("texts", True, None),
    ]  # fmt: skip
    below = space.client.list_artifacts(run_id, "plots")
    assert [(f.path, f.is_dir) for f in below] == [("plots/a.svg", False), ("plots/deep", True)]
    assert space.client.list_artifacts(run_id, "notes.txt") == []
    fetched = Path(space.client.download_artifacts(run_id, "", str(tmp_path)))
    assert (fetched / "plots" / "deep" / "b.svg").read_text() == "<svg>b</svg>"
    assert (fetched / "texts" / "with space ü.txt").read_text() == "naïve"
    for path, name in ((".", "notes.txt"), ("./plots/", "a.svg")):
        fetched = Path(space.client.download_artifacts(run_id, path, str(tmp_path / "more")))
        assert (fetched / name).is_file()
    own = space.http.get(f"runs/{run_id}/files").json()["items"]
    assert [file["path"] for file in own] == [
        "notes.txt", "plots/a.svg", "plots/deep/b.svg", "texts/with space ü.txt",
    ]  # fmt: skip
    assert space.http.get(f"runs/{run_id}/files/notes.txt").content == b"some bytes"
    by_run = space.call("GET", "artifacts/list", params={"run_id": run_id, "path": "plots"})
    assert by_run.json()["root_uri"] == run.info.artifact_uri
    assert by_run.json()["files"][0]["path"] == "plots/a.svg"


def test_what_mlflow_uploaded_may_be_replaced_and_other_files_not(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    space.client.log_text(run_id, "one", "table.json")
    space.client.log_text(run_id, "two", "table.json")
    assert space.http.get(f"runs/{run_id}/files/table.json").text == "two"
    space.http.put(f"runs/{run_id}/files/fixed.txt", content=b"ours").raise_for_status()
    with pytest.raises(HTTPError, match="never change"):
        space.client.log_text(run_id, "theirs", "fixed.txt")
    assert space.http.get(f"runs/{run_id}/files/fixed.txt").content == b"ours"


def repository_of(space: Space, run_id: str) -> ArtifactRepository:
    """What the client uses for the artifacts of a run."""
    address = space.client.get_run(run_id).info.artifact_uri
    return get_artifact_repository(address, tracking_uri=space.tracking)


def test_artifacts_can_be_removed(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    for path in ("a.txt", "d/b.txt", "d/c.txt"):
        space.client.log_text(run_id, "x", path)
    repository_of(space, run_id).delete_artifacts("d")  # type: ignore[no-untyped-call]
    assert [f.path for f in space.client.list_artifacts(run_id)] == ["a.txt"]


def test_paths_that_lead_elsewhere_are_refused(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    base = f"{space.tracking}/api/2.0/mlflow-artifacts/artifacts"
    for path in (f"0/{run_id}/artifacts/%2e%2e/up.txt", "0/none/artifacts/x", "%2e%2e/x"):
        answer = space.http.put(f"{base}/{path}", content=b"x")
        assert answer.status_code in (400, 404), (path, answer.text)
        assert answer.json()["error_code"] in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
    assert space.client.list_artifacts(run_id) == []
    for address in (
        "api/2.0/mlflow/artifacts/list",
        "api/2.0/mlflow-artifacts/artifacts",
        "get-artifact",
    ):
        for path in ("../up", "/etc", "%2e%2e/up", f"%{'25' * 500}", "file:///etc", "C:\\up"):
            query = {"run_id": run_id, "path": path}
            answer = space.http.get(f"{space.tracking}/{address}", params=query)
            assert (answer.status_code, answer.json()["message"]) == (400, "Invalid path")


def test_mlflows_own_pages_send_and_fetch_files(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    upload = f"{space.tracking}/ajax-api/2.0/mlflow/upload-artifact"
    query = {"run_uuid": run_id, "path": "model/note.txt"}
    for given, said in (
        ({}, "must specify run_uuid"),
        ({"run_uuid": run_id}, "must specify path"),
        (query, "must specify data"),
    ):
        refused = space.http.post(upload, params=given)
        assert refused.json()["error_code"] == "INVALID_PARAMETER_VALUE"
        assert said in refused.json()["message"]
    space.http.post(upload, params=query, content=b"hello").raise_for_status()
    fetched = space.http.get(f"{space.tracking}/get-artifact", params=query)
    assert fetched.content == b"hello"
    space.client.create_registered_model("noted")
    space.client.create_model_version("noted", f"runs:/{run_id}/model", run_id)
    query = {"name": "noted", "version": "1", "path": "note.txt"}
    fetched = space.http.get(f"{space.tracking}/model-versions/get-artifact", params=query)
    assert fetched.content == b"hello"


def test_a_file_that_is_not_there_is_said_in_mlflows_words(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    path = f"api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/none.txt"
    answer = space.http.get(f"{space.tracking}/{path}")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.txt", "text/plain"),
        ("b.pkl", "application/octet-stream"),
        ("c.png", "image/png"),
        ("d.pdf", "application/pdf"),
        ("MLmodel", "text/plain"),
        ("conda.yaml", "text/plain"),
        ("site.webmanifest", "text/plain"),
    ],
)
def test_a_download_says_its_name_and_what_it_is(space: Space, name: str, media_type: str) -> None:
    run_id = space.client.create_run("0").info.run_id
    space.client.log_text(run_id, "x", f"d/{name}")
    proxied = f"api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/d/{name}"
    of_pages = f"get-artifact?run_id={run_id}&path=d/{name}"
    for address in (proxied, of_pages):
        headers = space.http.get(f"{space.tracking}/{address}").headers
        assert headers["content-type"] == media_type
        assert headers["content-disposition"] == f"attachment; filename={name}"
        assert headers["x-content-type-options"] == "nosniff"
        asked = space.http.head(f"{space.tracking}/{address}").headers
        assert asked["etag"] == headers["etag"]


def test_names_with_percent_signs_are_names(space: Space) -> None:
    # As clients before version 3 call the images that they log, and how they send them.
    run_id = space.client.create_run("0").info.run_id
    name = "images/dog%step%20%timestamp%1796070930000%0af3.png"
    base = f"{space.tracking}/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts"
    space.http.put(f"{base}/{quote(name)}", content=b"x").raise_for_status()
    listed = space.call("GET", "artifacts/list", params={"run_id": run_id, "path": "images"})
    assert [file["path"] for file in listed.json()["files"]] == [name]
    query = {"run_id": run_id, "path": name}
    assert space.http.get(f"{space.tracking}/get-artifact", params=query).content == b"x"


def test_pages_fetch_files_of_logged_models(space: Space, tmp_path: Path) -> None:
    model = space.client.create_logged_model("0", "net")
    source = tmp_path / "MLmodel"
    source.write_text("flavors: {}")
    space.client.log_model_artifact(model.model_id, str(source))
    address = f"{space.tracking}/ajax-api/2.0/mlflow/logged-models/{model.model_id}/artifacts/files"
    found = space.http.get(address, params={"artifact_file_path": "MLmodel"})
    assert (found.content, found.headers["content-type"]) == (b"flavors: {}", "text/plain")
    for given, status, code in (
        ({}, 400, "INVALID_PARAMETER_VALUE"),
        ({"artifact_file_path": "../x"}, 400, "INVALID_PARAMETER_VALUE"),
        ({"artifact_file_path": "x"}, 404, "RESOURCE_DOES_NOT_EXIST"),
    ):
        refused = space.http.get(address, params=given)
        assert (refused.status_code, refused.json()["error_code"]) == (status, code)
