"""Artifacts: files of runs, of logged models and of registered versions, under one kind of path.

What MLflow uploads is a file of the run under the same name; unlike other files of a run it may be
replaced, because MLflow's clients do so (a table that grows, a model that is logged again).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.blobs import repository as blobs
from app.mlflow import logged_models, places, writes
from app.mlflow.access import Caller, find_run
from app.mlflow.errors import FileExists, InvalidParameter, NoSuchResource
from app.mlflow.places import Place
from app.runs.file_limit import check_room
from app.runs.transitions import lock_run
from app.storage.paths import check_path
from app.storage.writer import StoredObject
from app.tables.model import Model, ModelVersion
from app.tables.run import RunFile

ORIGIN = "mlflow"


@dataclass(frozen=True)
class Entry:
    """A file or a folder.

    Attributes:
        name: in its folder.
        size_bytes: None for a folder.
    """

    name: str
    size_bytes: int | None


@dataclass(frozen=True)
class _Files:
    """Where files are: below a folder of a run, or in the list of a version."""

    run_id: str
    folder: str
    listed: Sequence[dict[str, Any]] | None = None

    def path(self, below: str) -> str:
        return "/".join(part for part in (self.folder, below) if part)


async def entries(session: AsyncSession, caller: Caller, place: Place) -> list[Entry]:
    """What lies directly in a folder, by name; nothing where there is no such folder."""
    files = await _files(session, caller, place)
    folder = files.path(place.path)
    prefix = f"{folder}/" if folder else ""
    if files.listed is not None:
        found = [
            (str(file["path"]).removeprefix(prefix), int(file["size_bytes"]))
            for file in files.listed
            if str(file["path"]).startswith(prefix)
        ]
        return _folded(found)
    rest = func.substr(RunFile.path, len(prefix) + 1)
    name = func.split_part(rest, "/", 1)
    statement = (
        select(name, func.bool_or(rest != name), func.max(RunFile.size_bytes))
        .where(RunFile.run_id == files.run_id, func.starts_with(RunFile.path, prefix))
        .group_by(name)
        .order_by(name)
    )
    return [
        Entry(name, None if is_folder else size_bytes)
        for name, is_folder, size_bytes in await session.execute(statement)
    ]


async def find(session: AsyncSession, caller: Caller, place: Place) -> StoredObject:
    """The content of a file.

    Raises:
        NoSuchResource: there is no such file for the caller.
    """
    files = await _files(session, caller, place)
    path = files.path(place.path)
    if files.listed is not None:
        for file in files.listed:
            if file["path"] == path:
                return StoredObject(sha256=file["sha256"], size_bytes=file["size_bytes"])
    else:
        row = await session.get(RunFile, (files.run_id, path))
        if row is not None:
            return StoredObject(sha256=row.sha256, size_bytes=row.size_bytes)
    raise NoSuchResource(f"No such artifact: '{place.path}'")


async def check_writable(session: AsyncSession, caller: Caller, place: Place) -> None:
    """Refuse an upload before its bytes are read.

    Raises:
        InvalidParameter: nothing can be written there.
        NoSuchResource: there is no such run for the caller.
        RunFinished: it is a job that is over.
    """
    await _writable(session, caller, place)


async def put(session: AsyncSession, caller: Caller, place: Place, stored: StoredObject) -> None:
    """Give a name its content; what MLflow uploaded under it before is replaced.

    Raises:
        FileExists: the name belongs to a file that MLflow did not upload.
    """
    files = await _writable(session, caller, place)
    run = await lock_run(session, files.run_id)
    writes.check_open(run)
    path = files.path(place.path)
    row = await session.get(RunFile, (run.id, path))
    if row is None:
        await check_room(session, run.id)
        row = RunFile(run_id=run.id, path=path, origin=ORIGIN, attempt=caller.attempt)
        session.add(row)
    elif row.origin != ORIGIN and row.sha256 != stored.sha256:
        raise FileExists(
            f"'{path}' is a file of the run with other content; such files never change."
        )
    row.sha256, row.size_bytes = stored.sha256, stored.size_bytes
    await blobs.add(session, run.workspace_id, [stored])


async def remove(session: AsyncSession, caller: Caller, place: Place) -> None:
    """Remove a file, or a folder with all that MLflow uploaded into it.

    Raises:
        FileExists: there are files in it that MLflow did not upload.
    """
    files = await _writable(session, caller, Place(place.kind, place.id, place.path or "x"))
    path = files.path(place.path)
    here = (RunFile.run_id == files.run_id) & (
        (RunFile.path == path) | func.starts_with(RunFile.path, f"{path}/" if path else "")
    )
    others = select(RunFile.path).where(here, RunFile.origin != ORIGIN).limit(1)
    if place.path and (found := (await session.execute(others)).scalar_one_or_none()):
        raise FileExists(f"'{found}' was not uploaded by MLflow; such files never change.")
    await session.execute(delete(RunFile).where(here, RunFile.origin == ORIGIN))


async def _writable(session: AsyncSession, caller: Caller, place: Place) -> _Files:
    files = await _files(session, caller, place)
    if files.listed is not None or not place.path:
        raise InvalidParameter("Artifacts are uploaded to a run, or to a logged model.")
    check_path(files.path(place.path))
    writes.check_open(await writes.writable_run(session, caller, files.run_id))
    return files


async def _files(session: AsyncSession, caller: Caller, place: Place) -> _Files:
    if place.kind == "run":
        return _Files((await find_run(session, caller, place.id)).id, "")
    if place.kind == "model":
        model = await logged_models.get(session, caller, place.id, with_deleted=True)
        return _Files(model.run_id, places.model_folder(model.id))
    statement = (
        select(ModelVersion)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(Model.workspace_id == caller.workspace.id, ModelVersion.id == place.id)
    )
    version = (await session.execute(statement)).scalar_one_or_none()
    if version is None:
        raise NoSuchResource(f"There is no registered version {place.id}.")
    return _Files("", "", version.files)


def _folded(files: Sequence[tuple[str, int]]) -> list[Entry]:
    found: dict[str, int | None] = {}
    for path, size_bytes in files:
        name, slash, _ = path.partition("/")
        found[name] = None if slash else size_bytes
    return [Entry(name, found[name]) for name in sorted(found)]
