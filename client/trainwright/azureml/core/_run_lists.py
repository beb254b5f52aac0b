"""Finding runs, and what belongs to several of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

# Experiments and runs know each other: the module, whose names are looked up when they are used.
from trainwright.azureml.core import experiment as experiments
from trainwright.azureml.exceptions import ServiceException, raised_as
from trainwright.connection import Connection
from trainwright.downloads import download_file, safe_target

if TYPE_CHECKING:
    from trainwright.azureml.core.run import Run
    from trainwright.azureml.core.workspace import Workspace

_Kind = TypeVar("_Kind", bound="Run")


@dataclass(frozen=True)
class Wanted:
    """What runs must have to be listed."""

    type: str | None = None
    tags: Mapping[str, str] | str | None = None
    properties: Mapping[str, str] | None = None
    status: str | None = None
    include_children: bool = False

    def tag_params(self) -> list[str]:
        """As the API takes them."""
        if isinstance(self.tags, str):
            return [self.tags]
        return [f"{key}={value}" for key, value in (self.tags or {}).items()]

    def has(self, read: Mapping[str, Any]) -> bool:
        """Whether a run has what the API cannot be asked for."""
        return (
            self.type in (None, read["kind"])
            and (self.include_children or read["creator_run_id"] is None)
            and all(read["properties"].get(k) == v for k, v in (self.properties or {}).items())
        )


def one(kind: type[_Kind], workspace: "Workspace", run_id: str) -> _Kind:
    """A run by its id."""
    with raised_as(ServiceException):
        read = workspace.connection.get(workspace.connection.path("runs", run_id))
    return _run(kind, workspace, read)


def found(
    kind: type[_Kind], workspace: "Workspace", params: Mapping[str, str], wanted: Wanted
) -> Iterator[_Kind]:
    """Runs, the newest first."""
    asked: dict[str, str | list[str]] = {**params}
    if wanted.status:
        asked["status"] = wanted.status
    if wanted.tag_params():
        asked["tag"] = wanted.tag_params()
    with raised_as(ServiceException):
        for read in workspace.connection.pages(workspace.connection.path("runs"), params=asked):
            if wanted.has(read):
                yield _run(kind, workspace, read)


def restore(connection: Connection, snapshot_id: str, folder: str) -> str:
    """Download a snapshot's files into a folder, and return the folder."""
    listed = connection.get(connection.path("snapshots", snapshot_id, "files"))
    for file in listed["items"] if isinstance(listed, dict) else listed:
        download_file(
            connection,
            connection.path("blobs", file["sha256"]),
            safe_target(Path(folder), file["path"]),
            size_bytes=file["size_bytes"],
            sha256=file["sha256"],
        )
    return folder


def _run(kind: type[_Kind], workspace: "Workspace", read: dict[str, Any]) -> _Kind:
    name = read["experiment_name"]
    experiment = experiments.Experiment(workspace, name, _create_in_cloud=False)
    return kind(experiment, read["id"], _run_dto=read)
