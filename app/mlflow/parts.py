"""Artifacts that arrive in parts: who may send them, and what they become.

A part is sent with a token that is good for the parts of its upload, for a day, and for nothing
else. What the parts become is decided when the upload is completed, by the caller's own right.
"""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.principal import Principal
from app.auth.signing import Signer
from app.kernel.config import Settings
from app.kernel.db import Database
from app.kernel.errors import Forbidden
from app.mlflow import artifacts, file_sets, places
from app.mlflow.access import Caller
from app.mlflow.errors import InvalidParameter, NoSuchResource
from app.mlflow.places import Place
from app.storage.objects import ObjectStore
from app.tables.upload import PartUpload
from app.uploads import parts, repository
from app.uploads.errors import PartMissing
from app.uploads.limits import Limits
from app.uploads.service import KEEP_SECONDS

_TOKEN_SECONDS = 24 * 3600
_RIGHT = "part"
_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|[^/]*\\")
"""Paths of files as clients on Windows name them."""


def place_of_file(folder: str, local_path: str) -> Place:
    """The place of a file that a client uploads into a folder, under the name that it has there.

    Args:
        folder: path of artifacts.
        local_path: of the file on the client's machine.
    """
    local_path = local_path.replace("\\", "/") if _OF_WINDOWS.match(local_path) else local_path
    name = local_path.rpartition("/")[2]
    path = f"{folder}/{name}" if folder else name
    if not name or path.startswith("/") or not places.is_safe(path):
        raise InvalidParameter("Invalid path")
    return places.place_of(path)


async def create(
    session: AsyncSession, caller: Caller, place: Place, *, part_count: int, settings: Settings
) -> PartUpload:
    """Begin an upload.

    Raises:
        InvalidParameter, NoSuchResource, RunFinished: nothing can be written there.
        TooManyUploads, TooManyUploadsOfCaller: too many others are under way.
    """
    await artifacts.check_writable(session, caller, place)
    return await parts.create(
        session,
        workspace_id=caller.workspace.id,
        target=_target(place),
        part_count=part_count,
        created_by=caller.principal.id,
        caller=caller.principal.token_id or caller.principal.id,
        limits=Limits.of(settings),
        keep_seconds=KEEP_SECONDS,
    )


def credentials(signer: Signer, upload: PartUpload, address: str) -> list[dict[str, Any]]:
    """Where each part is sent, and with which header.

    Args:
        signer: of the token.
        upload: whose parts they are.
        address: below which the parts are taken.
    """
    sender = Principal(
        kind="artifacts",
        id=f"{_RIGHT}/{upload.id}",
        name="artifacts",
        workspace_id=upload.workspace_id,
    )
    # In a header, and not in the address: addresses are logged on the way.
    headers = {"Authorization": f"Bearer {signer.issue(sender, seconds=_TOKEN_SECONDS)}"}
    return [
        {"url": f"{address}/{upload.id}/{number}", "part_number": number, "headers": headers}
        for number in range(1, upload.part_count + 1)
    ]


async def opened(session: AsyncSession, sender: Principal, upload_id: str) -> PartUpload:
    """The upload that a token is good for.

    Raises:
        Forbidden: the token is not one for the parts of this upload.
        NoSuchResource: it was given up.
    """
    if sender.kind != "artifacts" or sender.id != f"{_RIGHT}/{upload_id}":
        raise Forbidden("Send parts with the headers that were given out for them.")
    return await _found(session, sender.workspace_id, upload_id)


async def complete(
    database: Database,
    objects: ObjectStore,
    caller: Caller,
    place: Place,
    upload_id: str,
    etags: Sequence[str],
    *,
    settings: Settings,
) -> None:
    """Put the parts together and give the name its content, at once; again, it does nothing.

    Raises:
        NoSuchResource: there is no such upload for this place.
        PartsMismatch, PartMissing: its parts are others.
        FileExists: the name belongs to a file that MLflow did not upload, or to a folder.
    """
    async with database.session() as session:
        await artifacts.check_writable(session, caller, place)
        upload = await _of_place(session, caller, place, upload_id)
    if upload.completed_at is not None:
        return
    try:
        stored = await parts.join(objects, upload, etags, max_bytes=settings.max_upload_bytes)
    except PartMissing:
        async with database.session() as session:
            upload = await _of_place(session, caller, place, upload_id)
        if upload.completed_at is None:
            raise
        return  # by another request meanwhile
    async with database.session() as session:
        # Another request may have completed it, and somebody have written something newer since.
        if await parts.complete(session, upload, stored):
            await artifacts.put(session, caller, place, stored)
    await parts.remove_files(objects, upload)


async def abort(
    database: Database, objects: ObjectStore, caller: Caller, place: Place, upload_id: str
) -> None:
    """Give an upload up; what was completed stays, and one that is gone already is no error.

    Raises:
        NoSuchResource: the place is not there for the caller.
    """
    async with database.session() as session:
        # Also where nothing can be written any more: a run may have ended meanwhile.
        await file_sets.at(session, caller, place)
        upload = await repository.find_parts(session, caller.workspace.id, upload_id)
        if upload is None or upload.target != _target(place):
            return
        await session.delete(upload)
    await parts.remove_files(objects, upload)


async def _of_place(
    session: AsyncSession, caller: Caller, place: Place, upload_id: str
) -> PartUpload:
    upload = await _found(session, caller.workspace.id, upload_id)
    if upload.target != _target(place):
        raise _no_such(upload_id)
    return upload


async def _found(session: AsyncSession, workspace_id: str, upload_id: str) -> PartUpload:
    upload = await repository.find_parts(session, workspace_id, upload_id)
    if upload is None:
        raise _no_such(upload_id)
    return upload


def _no_such(upload_id: str) -> NoSuchResource:
    return NoSuchResource(f"No such upload: '{upload_id}'")


def _target(place: Place) -> str:
    return f"mlflow/{place.kind}/{place.id}/{place.path}"
