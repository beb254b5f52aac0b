"""Which rows the files at a place are: of a run, of a logged model, of the workspace, or a list."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.mlflow import logged_models, places, writes
from app.mlflow.access import Caller, find_run
from app.mlflow.errors import InvalidParameter, NoSuchResource
from app.mlflow.places import Place
from app.storage.paths import check_path
from app.tables.model import Model, ModelVersion
from app.tables.run import RunFile
from app.tables.tracking import LoggedModelFile, WorkspaceArtifact

File = RunFile | LoggedModelFile | WorkspaceArtifact
Table = type[RunFile] | type[LoggedModelFile] | type[WorkspaceArtifact]


@dataclass(frozen=True)
class Rows:
    """Files that are rows of a table, all of one owner.

    Attributes:
        table: of the rows.
        owner: its column that names the owner.
        owner_id: a run, a logged model or a workspace.
        folder: below which they are.
    """

    table: Table
    owner: InstrumentedAttribute[str]
    owner_id: str
    folder: str = ""

    def path(self, below: str) -> str:
        """The path of a file as its row has it."""
        return "/".join(part for part in (self.folder, below) if part)

    def of_owner(self) -> ColumnElement[bool]:
        """The condition for all of the owner's files."""
        return self.owner == self.owner_id

    def within(self, path: str) -> ColumnElement[bool]:
        """The condition for those in a folder, however deep; empty: all."""
        return self.of_owner() & func.starts_with(self.table.path, f"{path}/" if path else "")

    async def row(self, session: AsyncSession, path: str) -> File | None:
        """The row of this path as it is now, if there is one."""
        key = (self.owner_id, path)
        found = await session.get(self.table, key, populate_existing=True)
        # The type checker knows no more of it than that it is some table's.
        return cast("File | None", found)


@dataclass(frozen=True)
class Listed:
    """Files that are the list of a registered version: nothing can be written there."""

    files: Sequence[dict[str, Any]]


async def at(session: AsyncSession, caller: Caller, place: Place) -> Rows | Listed:
    """The files at a place.

    Raises:
        NoSuchResource: there is no such run, model or version for the caller, or the place is
            the workspace and the caller a script.
    """
    if place.kind == "run":
        run = await find_run(session, caller, place.id)
        return Rows(RunFile, RunFile.run_id, run.id)
    if place.kind == "model":
        model = await logged_models.get(session, caller, place.id, with_deleted=True)
        if model.run_id is None:
            return Rows(LoggedModelFile, LoggedModelFile.model_id, model.id)
        return Rows(RunFile, RunFile.run_id, model.run_id, places.model_folder(model.id))
    if place.kind == "workspace":
        if caller.is_script:
            raise NoSuchResource(
                f"No artifacts lie at '{place.path}'; a run's lie where its artifact_uri says."
            )
        return Rows(WorkspaceArtifact, WorkspaceArtifact.workspace_id, caller.workspace.id)
    return Listed(await _listed(session, caller, place.id))


async def writable(session: AsyncSession, caller: Caller, place: Place) -> Rows:
    """The same where the caller may write a file, or remove some.

    Raises:
        InvalidParameter: nothing can be written there.
        NoSuchResource: there is no such run or model for the caller.
        RunFinished: it is of a job that is over.
    """
    files = await at(session, caller, place)
    if isinstance(files, Listed):
        raise InvalidParameter("Files of a registered version never change.")
    if not place.path:
        raise InvalidParameter("Name the file: this is the folder of all artifacts.")
    check_path(files.path(place.path))
    if place.kind == "model":
        model = await logged_models.get(session, caller, place.id, with_deleted=True)
        await logged_models.check_writable(session, caller, model)
    if files.table is RunFile:
        writes.check_open(await writes.writable_run(session, caller, files.owner_id))
    return files


async def _listed(
    session: AsyncSession, caller: Caller, version_id: str
) -> Sequence[dict[str, Any]]:
    statement = (
        select(ModelVersion.files)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(Model.workspace_id == caller.workspace.id, ModelVersion.id == version_id)
    )
    files: Sequence[dict[str, Any]] | None = await session.scalar(statement)
    if files is None:
        raise NoSuchResource(f"There is no registered version {version_id}.")
    return files
