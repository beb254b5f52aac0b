"""What the names of Azure ML's v1 SDK do to services, and to files that are there already."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.serving.onnx_models import matrix_product
from trainwright.azureml.core.model import Model
from trainwright.azureml.core.webservice import AciWebservice
from trainwright.azureml.core.workspace import Workspace
from trainwright.azureml.data.file_dataset import FileDataset, MountContext
from trainwright.azureml.exceptions import UserErrorException, WebserviceException
from trainwright.connection import Connection


@pytest.fixture
def workspace(connection: Connection) -> Workspace:
    return cast("Workspace", SimpleNamespace(connection=connection, name=connection.workspace))


@pytest.fixture
def model(workspace: Workspace, tmp_path: Path) -> Model:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "a.txt").write_text("new a")
    (folder / "b.txt").write_text("new b")
    return Model.register(workspace, str(folder), "net")


@pytest.mark.parametrize("scales", [False, True])
def test_an_update_of_a_service_leaves_the_rest_as_it_is(
    workspace: Workspace, connection: Connection, tmp_path: Path, scales: bool
) -> None:
    (tmp_path / "net.onnx").write_bytes(matrix_product())
    model = Model.register(workspace, str(tmp_path / "net.onnx"), "net")
    asked: dict[str, Any] = {
        "model_name": model.name,
        "model_version": model.version,
        "limits": {"max_waiting": 7},
        "data_capture": {"percent": 10},
    }
    asked |= {"autoscale": {"max_replicas": 3}} if scales else {"replicas": 2}
    path = connection.path("deployments", "service")
    before = connection.put(path, asked)

    AciWebservice(workspace, "service").update(description="better")

    after = connection.get(path)
    assert after["description"] == "better"
    kept = ("limits", "data_capture", "autoscale", "replicas", "tags", "resource_configuration")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


class Files:
    """A dataset of one file, which may not come."""

    def __init__(self, *, comes: bool = True) -> None:
        self._comes = comes

    def download(self, target_path: str, *, overwrite: bool) -> None:
        Path(target_path).mkdir(parents=True, exist_ok=True)
        Path(target_path, "data.txt").write_text("theirs")
        if not self._comes:
            raise UserErrorException("it did not come")


def mounted(folder: Path, **kind: bool) -> MountContext:
    return MountContext(cast("FileDataset", Files(**kind)), folder)


def test_a_mount_spares_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "data.txt").write_text("mine")
    mount = mounted(folder)

    with pytest.raises(UserErrorException, match="not an empty folder"):
        mount.start()
    mount.stop()

    assert (folder / "data.txt").read_text() == "mine"


def test_a_mount_takes_an_empty_folder_and_leaves_none(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    mount = mounted(tmp_path / "data")
    with mount:
        mount.start()
        assert (tmp_path / "data" / "data.txt").read_text() == "theirs"
    assert not (tmp_path / "data").exists()

    with pytest.raises(UserErrorException, match="did not come"):
        mounted(tmp_path / "data", comes=False).start()
    with mounted(tmp_path / "data"):
        pass


def test_a_model_that_does_not_come_leaves_what_is_there(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "there"
    (target / "net").mkdir(parents=True)
    (target / "net" / "a.txt").write_text("old")
    with monkeypatch.context() as patch:
        read = {**model._read, "lineage": {"path": "outputs/.."}}
        patch.setattr(model, "_read", read)
        with pytest.raises(WebserviceException, match="outside of"):
            model.download(str(target), exist_ok=True)
    with monkeypatch.context() as patch:
        fetch = "trainwright.azureml.core._model_files.download_file"
        patch.setattr(fetch, lambda *_, **__: (_ for _ in ()).throw(OSError("no room")))
        with pytest.raises(OSError, match="no room"):
            model.download(str(target), exist_ok=True)
    assert (target / "net" / "a.txt").read_text() == "old"

    assert model.download(str(target), exist_ok=True) == str(target / "net")
    assert {file.name: file.read_text() for file in (target / "net").iterdir()} == {
        "a.txt": "new a",
        "b.txt": "new b",
    }
    assert [one.name for one in target.iterdir()] == ["net"]
