"""Registering datastores, and opening them with their credentials."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.datastores import repository
from app.datastores.buckets import azure_store, gcs_store, s3_store
from app.datastores.errors import DatastoreRefused
from app.datastores.schemas import DatastorePut
from app.datastores.stores import FolderStore, Store, WebStore, resolved
from app.kernel.config import Settings
from app.kernel.errors import Conflict, FieldError
from app.kernel.ids import new_id
from app.kernel.keyring import Keyring, KeyUnknown, ValueAltered
from app.kernel.odd_rows import shown
from app.secrets import service as secrets
from app.tables.datastore import Datastore

MOST_LISTED = 10_000


async def put(
    session: AsyncSession,
    settings: Settings,
    keyring: Keyring,
    *,
    workspace_id: str,
    name: str,
    body: DatastorePut,
    actor: str,
) -> tuple[Datastore, bool]:
    """Make or change a datastore.

    Returns:
        The row, and whether it is new.

    Raises:
        DatastoreRefused: the operator does not allow the place, or the credentials are of no form
            that it takes.
        Conflict: somebody else has just done the same.
    """
    place = body.place.model_dump()
    check_place(settings, place)
    row = await repository.find(session, workspace_id, name)
    is_new = row is None
    if row is None:
        row = Datastore(id=new_id("dst"), workspace_id=workspace_id, name=name, place=place)
        session.add(row)
    given = body.credentials.given() if body.credentials else {}
    if given:
        _made(place, given)
    # Credentials for one place are not sent to another one.
    if body.credentials is not None or not _is_same(row.place, place):
        await secrets.forget(session, workspace_id=workspace_id, scope=scope(row))
        row.has_credentials = bool(given)
    for key, value in given.items():
        await secrets.put(
            session,
            keyring,
            workspace_id=workspace_id,
            name=key,
            value=value.encode(),
            actor=actor,
            scope=scope(row),
        )
    if body.is_default:
        await repository.unset_default(session, workspace_id, but=name)
    row.place, row.description, row.is_default = place, body.description, body.is_default
    try:
        await session.flush()
    except IntegrityError as error:
        raise Conflict("Somebody else has just changed the datastores; try again.") from error
    await session.refresh(row)
    return row, is_new


async def delete(session: AsyncSession, row: Datastore) -> None:
    """Delete a datastore with its credentials; the files in it stay, and datasets' copies too."""
    await secrets.forget(session, workspace_id=row.workspace_id, scope=scope(row))
    await session.delete(row)


async def opened(
    session: AsyncSession, settings: Settings, keyring: Keyring, row: Datastore
) -> Store:
    """A datastore with its credentials.

    Raises:
        DatastoreRefused: the operator does not allow the place any more, or its credentials cannot
            be used.
    """
    check_place(settings, row.place)
    return _made(row.place, await _credentials(session, keyring, row))


async def open_folders(session: AsyncSession, settings: Settings) -> list[FolderStore]:
    """All folders that are datastores and that the operator allows still; odd rows are left out."""

    def opened_folder(row: Row[Any]) -> FolderStore | None:
        try:
            check_place(settings, row.place)
        except DatastoreRefused:
            return None
        return FolderStore(Path(row.place["path"]))

    rows = await repository.folder_places(session)
    found, _ = shown(
        rows, opened_folder, table=Datastore.__tablename__, name_of=lambda row: str(row.id)
    )
    return [folder for folder in found if folder is not None]


async def _credentials(session: AsyncSession, keyring: Keyring, row: Datastore) -> dict[str, str]:
    if not row.has_credentials:
        return {}
    try:
        found = await secrets.reveal_all(
            session, keyring, workspace_id=row.workspace_id, scope=scope(row)
        )
    except (KeyUnknown, ValueAltered) as error:
        raise DatastoreRefused(
            "The credentials cannot be decrypted any more; give them again."
        ) from error
    return {key: value.decode() for key, value in found.items()}


def _made(place: dict[str, Any], credentials: dict[str, str]) -> Store:
    kind = place["kind"]
    if kind == "folder":
        return FolderStore(Path(place["path"]))
    if kind == "http":
        return WebStore(place["base_url"])
    makers = {"s3": s3_store, "azure_blob": azure_store, "gcs": gcs_store}
    try:
        return makers[kind](place, credentials)
    except (BaseError, ValueError):
        # What the library says of them may hold parts of them.
        raise DatastoreRefused("The credentials are none that can be used.") from None


def check_place(settings: Settings, place: dict[str, object]) -> None:
    """Refuse folders and servers that the operator has not opened.

    Raises:
        DatastoreRefused: says what would open it.
    """
    if place["kind"] == "folder":
        path = Path(str(place["path"]))
        if not any(_is_below(path, allowed) for allowed in settings.datastore_folders):
            raise _refused(
                "/place/path",
                f"{path} is below no folder that the operator allows for datastores"
                " (TRAINWRIGHT_DATASTORE_FOLDERS).",
            )
    endpoint = place.get("endpoint")
    if endpoint is None:
        return
    try:
        parts = urlsplit(str(endpoint))
        port = parts.port
    except ValueError as error:
        raise _refused("/place/endpoint", "The endpoint is no address.") from error
    if not _is_opened(settings.fetch_allow, parts.hostname or "", port):
        raise _refused(
            "/place/endpoint",
            f"The operator has not opened {parts.netloc} (TRAINWRIGHT_FETCH_ALLOW, by this name).",
        )


def listed(store: Store, prefix: str, *, most: int) -> tuple[list[tuple[str, int]], bool]:
    """Files of a datastore, by path as far as it says them so; blocks.

    Returns:
        The files, and whether these are all.
    """
    found: Iterable[tuple[str, int]] = store.listed(prefix)
    first = list(islice(found, most + 1))
    return sorted(first[:most]), len(first) <= most


@contextmanager
def refusals() -> Iterator[None]:
    """What a datastore refuses, in words.

    Raises:
        DatastoreRefused: it is not there, or the credentials are not good for what was asked.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise DatastoreRefused(
            "The datastore is not there, or its credentials are not good for this."
        ) from error


def scope(row: Datastore) -> str:
    """Where its credentials are kept."""
    return f"datastore/{row.id}"


def _is_below(path: Path, allowed: Path) -> bool:
    try:
        return resolved(path).is_relative_to(resolved(allowed))
    except FileNotFoundError:
        return False


def _is_opened(allowed: Iterable[str], host: str, port: int | None) -> bool:
    names = {host, f"{host}:{port}"}
    return any(entry.strip().lower() in names for entry in allowed)


def _is_same(place: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two places are one; what earlier ones cannot say is as if it were left out."""
    said = [
        {key: value for key, value in one.items() if value is not None} for one in (place, other)
    ]
    return said[0] == said[1]


def _refused(pointer: str, message: str) -> DatastoreRefused:
    field = FieldError(pointer, DatastoreRefused.code, message)
    return DatastoreRefused(message, errors=[field])
