"""Artifacts: files of runs, of logged models, of registered versions and of the workspace, under
one kind of path.

What MLflow uploads is a file of the run under the same name; unlike other files of a run it may be
replaced, because MLflow's clients do so (a table that grows, a model that is logged again).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.blobs import repository as blobs
from app.mlflow import file_sets, writes
from app.mlflow.access import Caller, check_current
from app.mlflow.errors import FileExists, InvalidParameter, NoSuchResource
from app.mlflow.file_sets import File, Listed, Rows
from app.mlflow.places import Place
from app.runs.file_limit import MOST_FILES, TooManyFiles, check_room
from app.runs.transitions import lock_run
from app.storage.writer import StoredObject
from app.tables.run import RunFile
from app.tables.tracking import LoggedModel, LoggedModelFile
from app.tables.workspace import Workspace

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


async def entries(session: AsyncSession, caller: Caller, place: Place) -> list[Entry]:
    """What lies directly in a folder, by name; nothing where there is no such folder."""
    files = await file_sets.at(session, caller, place)
    if isinstance(files, Listed):
        prefix = f"{place.path}/" if place.path else ""
        found = [
            (str(file["path"]).removeprefix(prefix), int(file["size_bytes"]))
            for file in files.files
            if str(file["path"]).startswith(prefix)
        ]
        return _folded(found)
    folder = files.path(place.path)
    rest = func.substr(files.table.path, len(folder) + 2 if folder else 1)
    name = func.split_part(rest, "/", 1)
    statement = (
        select(name, func.bool_or(rest != name), func.max(files.table.size_bytes))
        .where(files.within(folder))
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
        InvalidParameter: it is a folder.
        NoSuchResource: there is no such file for the caller.
    """
    files = await file_sets.at(session, caller, place)
    if isinstance(files, Listed):
        for file in files.files:
            if file["path"] == place.path:
                return StoredObject(sha256=file["sha256"], size_bytes=file["size_bytes"])
    elif row := await files.row(session, files.path(place.path)):
        return StoredObject(sha256=row.sha256, size_bytes=row.size_bytes)
    if not place.path or await entries(session, caller, place):
        raise InvalidParameter(f"Artifact path refers to a directory, not a file: '{place.path}'")
    raise NoSuchResource(f"No such artifact: '{place.path}'")


async def files_below(
    session: AsyncSession, caller: Caller, place: Place
) -> list[tuple[str, StoredObject]]:
    """All files in a folder with their paths in it, or the one file that the place is.

    Raises:
        NoSuchResource: there is no such place for the caller.
    """
    files = await file_sets.at(session, caller, place)
    if isinstance(files, Listed):
        raise NoSuchResource(f"No such artifact: '{place.path}'")
    folder = files.path(place.path)
    it = files.table
    is_it = files.of_owner() & (it.path == folder)
    statement = select(it.path, it.sha256, it.size_bytes).where(files.within(folder) | is_it)
    return [
        (
            path.rpartition("/")[2] if path == folder else path[len(folder) :].lstrip("/"),
            StoredObject(sha256=sha256, size_bytes=size_bytes),
        )
        for path, sha256, size_bytes in await session.execute(statement.order_by(it.path))
    ]


async def check_writable(session: AsyncSession, caller: Caller, place: Place) -> None:
    """Refuse an upload before its bytes are read.

    Raises:
        InvalidParameter: nothing can be written there.
        NoSuchResource: there is no such run for the caller.
        RunFinished: it is a job that is over.
    """
    await file_sets.writable(session, caller, place)


async def put(session: AsyncSession, caller: Caller, place: Place, stored: StoredObject) -> None:
    """Give a name its content; what MLflow uploaded under it before is replaced.

    Raises:
        FileExists: the name belongs to a file that MLflow did not upload, or to a folder.
        AttemptSuperseded: another attempt has taken over.
    """
    files = await file_sets.writable(session, caller, place)
    await _lock(session, caller, files)
    path = files.path(place.path)
    row = await files.row(session, path)
    if row is None:
        await _check_tree(session, files, path)
        await _check_room(session, files)
        session.add(_row(files, caller, path, stored))
    elif isinstance(row, RunFile) and row.origin != ORIGIN and row.sha256 != stored.sha256:
        raise FileExists(
            f"'{path}' is a file of the run with other content; such files never change."
        )
    else:
        row.sha256, row.size_bytes = stored.sha256, stored.size_bytes
    await blobs.add(session, caller.workspace.id, [stored])


async def remove(session: AsyncSession, caller: Caller, place: Place) -> None:
    """Remove a file, or a folder with all that MLflow uploaded into it.

    Raises:
        FileExists: there are files in it that MLflow did not upload.
        InvalidParameter: it is everything that the workspace has.
        AttemptSuperseded: another attempt has taken over.
    """
    if place.kind == "workspace" and not place.path:
        raise InvalidParameter("Name the file or the folder to delete.")
    files = await file_sets.writable(
        session, caller, Place(place.kind, place.id, place.path or "x")
    )
    await _lock(session, caller, files)
    path = files.path(place.path)
    here: ColumnElement[bool] = files.within(path) | (files.of_owner() & (files.table.path == path))
    if files.table is RunFile:
        others = select(RunFile.path).where(here, RunFile.origin != ORIGIN).limit(1)
        if place.path and (found := (await session.execute(others)).scalar_one_or_none()):
            raise FileExists(f"'{found}' was not uploaded by MLflow; such files never change.")
        here &= RunFile.origin == ORIGIN
    await session.execute(delete(files.table).where(here))


async def _lock(session: AsyncSession, caller: Caller, files: Rows) -> None:
    """Keep others from changing files of the same owner until the transaction ends.

    Another attempt may have taken over before: what it has is not the caller's any more.
    """
    if files.table is RunFile:
        if caller.is_script and caller.principal.id != files.owner_id:
            # Before the run that it made, as whoever begins an attempt locks them.
            await lock_run(session, caller.principal.id)
        run = await lock_run(session, files.owner_id)
        await check_current(session, caller, run)
        writes.check_open(run)
        return
    owner = LoggedModel.id if files.table is LoggedModelFile else Workspace.id
    locked = select(owner).where(owner == files.owner_id).with_for_update(key_share=True)
    await session.execute(locked)


async def _check_tree(session: AsyncSession, files: Rows, path: str) -> None:
    """Refuse a file where there is a folder, and a folder where there is a file."""
    in_it = select(files.table.path).where(files.within(path)).limit(1)
    if (found := (await session.execute(in_it)).scalar_one_or_none()) is not None:
        raise FileExists(f"'{path}' is a folder, in which there is '{found}'.")
    folders = list(accumulate(path.split("/")[:-1], "{}/{}".format))
    above = select(files.table.path).where(files.of_owner(), files.table.path.in_(folders))
    if (found := (await session.execute(above.limit(1))).scalar_one_or_none()) is not None:
        raise FileExists(f"'{found}' is a file, so '{path}' can not be below it.")


async def _check_room(session: AsyncSession, files: Rows) -> None:
    if files.table is RunFile:
        await check_room(session, files.owner_id)
        return
    count = select(func.count()).select_from(files.table).where(files.of_owner())
    if (await session.execute(count)).scalar_one() >= MOST_FILES:
        raise TooManyFiles("A model" if files.table is LoggedModelFile else "A workspace")


def _row(files: Rows, caller: Caller, path: str, stored: StoredObject) -> File:
    if files.table is RunFile:
        return RunFile(
            run_id=files.owner_id,
            path=path,
            origin=ORIGIN,
            attempt=caller.attempt,
            sha256=stored.sha256,
            size_bytes=stored.size_bytes,
        )
    owner = {files.owner.key: files.owner_id}
    return files.table(**owner, path=path, sha256=stored.sha256, size_bytes=stored.size_bytes)


def _folded(files: Sequence[tuple[str, int]]) -> list[Entry]:
    found: dict[str, int | None] = {}
    for path, size_bytes in files:
        name, slash, _ = path.partition("/")
        found[name] = None if slash else size_bytes
    return [Entry(name, found[name]) for name in sorted(found)]
