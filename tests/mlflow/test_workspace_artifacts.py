"""Artifacts of no run and no model: below the root, as the real client keeps them there."""

from pathlib import Path
from urllib.parse import quote

import mlflow
import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from requests import HTTPError

from tests.mlflow.conftest import Space, new_space
from tests.mlflow.test_access import begin_attempt, submit
from tests.served import Served


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """Return a file to keep."""
    path = tmp_path / "note.txt"
    path.write_text("kept")
    return path


def base_of(space: Space) -> str:
    """Where artifacts are addressed as curl would."""
    return f"{space.tracking}/api/2.0/mlflow-artifacts/artifacts"


def listed(space: Space, path: str = "") -> list[str]:
    """The names in a folder."""
    answer = space.http.get(base_of(space), params={"path": path} if path else {})
    return [file["path"] for file in answer.raise_for_status().json()["files"]]


def test_the_client_keeps_lists_fetches_and_deletes(space: Space, note: Path) -> None:
    shared = get_artifact_repository("mlflow-artifacts:/shared/x", tracking_uri=space.tracking)
    shared.log_artifact(str(note))  # type: ignore[no-untyped-call]
    shared.log_artifact(str(note), "deep")  # type: ignore[no-untyped-call]
    found = shared.list_artifacts()
    assert [(file.path, file.is_dir, file.file_size) for file in found] == [
        ("deep", True, None), ("note.txt", False, 4),
    ]  # fmt: skip
    fetch = mlflow.artifacts.download_artifacts
    folder = Path(fetch("mlflow-artifacts:/shared/x", tracking_uri=space.tracking))
    assert (folder / "deep" / "note.txt").read_text() == "kept"
    one = Path(fetch("mlflow-artifacts:/shared/x/note.txt", tracking_uri=space.tracking))
    assert one.read_text() == "kept"
    note.write_text("later")
    shared.log_artifact(str(note))  # type: ignore[no-untyped-call]
    assert shared.list_artifacts()[1].file_size == 5
    shared.delete_artifacts("deep")  # type: ignore[no-untyped-call]
    assert listed(space, "shared/x") == ["note.txt"]
    shared.delete_artifacts()  # type: ignore[no-untyped-call]
    assert listed(space) == []


def test_each_workspace_has_its_own_and_is_not_deleted_over_them(
    served: Served, space: Space
) -> None:
    space.http.put(f"{base_of(space)}/a.txt", content=b"x").raise_for_status()
    with new_space(served) as other:
        assert listed(other) == []
        assert other.http.get(f"{base_of(other)}/a.txt").status_code == 404
    assert space.http.delete(str(space.http.base_url).rstrip("/")).status_code == 409
    space.http.delete(f"{base_of(space)}/a.txt").raise_for_status()
    assert space.http.delete(str(space.http.base_url).rstrip("/")).status_code == 204


def test_a_script_finds_nothing_there(served: Served, space: Space) -> None:
    script = {"Authorization": f"Bearer {begin_attempt(served, space, submit(space))}"}
    file = f"{base_of(space)}/shared/a.txt"
    space.http.put(file, content=b"x").raise_for_status()
    for method, address in (
        ("GET", file), ("PUT", file), ("DELETE", file), ("GET", base_of(space)),
    ):  # fmt: skip
        refused = space.http.request(method, address, headers=script)
        assert (refused.status_code, refused.json()["error_code"]) == (
            404, "RESOURCE_DOES_NOT_EXIST",
        )  # fmt: skip
    assert space.http.get(file).content == b"x"


def test_a_name_is_a_file_or_a_folder(space: Space, note: Path) -> None:
    run_id = space.client.create_run("0").info.run_id
    for base in (base_of(space), f"{base_of(space)}/0/{run_id}/artifacts"):
        space.http.put(f"{base}/d/file", content=b"1").raise_for_status()
        for path in ("d/file/below", "d/file/far/below", "d"):
            refused = space.http.put(f"{base}/{path}", content=b"2")
            assert (refused.status_code, refused.json()["error_code"]) == (409, "RESOURCE_CONFLICT")
        for path in ("d", "d/"):
            refused = space.http.get(f"{base}/{path}")
            assert (refused.status_code, refused.json()["error_code"]) == (
                400, "INVALID_PARAMETER_VALUE",
            )  # fmt: skip
            assert "refers to a directory" in refused.json()["message"]
            assert space.http.head(f"{base}/{path}").status_code == 400
        assert space.http.put(f"{base}/e/", content=b"2").status_code == 400
        assert space.http.get(f"{base}/d/file").content == b"1"
    with pytest.raises(HTTPError, match="is a folder"):
        space.client.log_text(run_id, "x", "d")


def test_a_folder_is_deleted_and_what_only_begins_like_it_stays(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    for base in (base_of(space), f"{base_of(space)}/0/{run_id}/artifacts"):
        for path in ("p/a", "p/b/c", "pq/a", "p.txt", "p%25/a"):
            space.http.put(f"{base}/{path}", content=b"1").raise_for_status()
        for _ in range(2):
            space.http.delete(f"{base}/p").raise_for_status()
        gone = [space.http.get(f"{base}/{path}").status_code for path in ("p/a", "p/b/c")]
        kept = [space.http.get(f"{base}/{path}").status_code for path in ("pq/a", "p.txt")]
        assert (gone, kept) == ([404, 404], [200, 200])
    assert space.http.delete(f"{base_of(space)}/").status_code == 400
    assert listed(space) == ["p%", "p.txt", "pq"]


def test_odd_names_are_listed_and_fetched_as_they_are(space: Space) -> None:
    names = sorted(
        {"with space.txt", "100%.txt", "50%25.txt", "a#b.txt", "naïve ü.txt", "q?x=1&y.txt",
         "a+b.txt", "日本.txt", "a'b\"c.txt", "semi;colon", "dots..txt", "..hidden", "~t", "x|y*<>"}
    )  # fmt: skip
    run_id = space.client.create_run("0").info.run_id
    for base, folder in (
        (f"{base_of(space)}/odd", "odd"),
        (f"{base_of(space)}/0/{run_id}/artifacts/odd", f"0/{run_id}/artifacts/odd"),
    ):
        for name in names:
            address = f"{base}/{quote(name, safe='')}"
            space.http.put(address, content=name.encode()).raise_for_status()
            assert space.http.get(address).content == name.encode()
        assert sorted(listed(space, folder)) == names
        for name in ("%2e%2e/up", "a%5Cb", "a%0Ab", "a%00b", "%252e%252e/up"):
            assert space.http.put(f"{base}/{name}", content=b"x").status_code in (400, 404), name


def test_what_lies_there_is_registered(space: Space) -> None:
    space.http.put(f"{base_of(space)}/exported/net/model.onnx", content=b"x").raise_for_status()
    space.client.create_registered_model("net")
    version = space.client.create_model_version("net", "mlflow-artifacts:/exported/net")
    files = space.http.get(f"models/net/versions/{version.version}/files").json()["items"]
    assert [file["path"] for file in files] == ["model.onnx"]


@pytest.mark.parametrize(
    "source", ["https://other.example/mlflow-artifacts/artifacts/shared", "mlflow-artifacts:/"]
)
def test_an_address_elsewhere_is_none_of_these(space: Space, source: str) -> None:
    file = f"{space.tracking}/api/2.0/mlflow-artifacts/artifacts/shared/model.keras"
    space.http.put(file, content=b"x").raise_for_status()
    space.client.create_registered_model("elsewhere")
    made = space.call("POST", "model-versions/create", json={"name": "elsewhere", "source": source})
    assert made.status_code == 200, made.text
    assert space.http.get("models/elsewhere/versions/1").json()["files_count"] == 0
