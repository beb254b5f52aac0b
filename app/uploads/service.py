"""Uploads in pieces: beginning one and giving one up."""

import functools

import anyio.to_thread
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from app.blobs import repository as blobs
from app.blobs.errors import BlobTooLarge
from app.kernel.db import Database
from app.kernel.errors import invalid_field
from app.kernel.ids import new_id
from app.storage.objects import ObjectStore
from app.tables.upload import Upload
from app.uploads.limits import Limits, check_others
from app.uploads.schemas import UploadCreate

KEEP_SECONDS = 7 * 24 * 3600.0
"""An upload that nobody goes on with is given up after so long."""


async def create(
    database: Database,
    session: AsyncSession,
    objects: ObjectStore,
    *,
    workspace_id: str,
    body: UploadCreate,
    created_by: str,
    caller: str,
    limits: Limits,
) -> Upload:
    """Begin an upload; it is complete at once when the workspace has the bytes already.

    Args:
        database: for a look at what the workspace has.
        session: the transaction to write in; while the store is asked, nothing has been done in it.
        objects: where bytes are.
        workspace_id: whose upload it is.
        body: what is announced.
        created_by, caller: who begins it, and with which token.
        limits: of the installation.

    Raises:
        BlobTooLarge: more bytes are announced than a blob may have.
        TooManyUploads: too many others of the workspace are under way.
        TooManyUploadsOfCaller: too many others of the caller are.
        Invalid: the workspace has bytes of this hash, and they are not so many.
    """
    if body.size_bytes > limits.blob_bytes:
        raise BlobTooLarge(f"A blob may have at most {limits.blob_bytes} bytes.")
    row = Upload(
        id=new_id("upl"),
        workspace_id=workspace_id,
        size_bytes=body.size_bytes,
        sha256=body.sha256,
        created_by=created_by,
        caller=caller,
    )
    if body.sha256 is not None:
        row.found_sha256 = await _found(database, objects, workspace_id, body, body.sha256)
    elif body.size_bytes == 0:
        empty = await objects.put_bytes(b"")
        await blobs.add(session, workspace_id, [empty])
        row.found_sha256 = empty.sha256
    if row.found_sha256 is None:
        await check_others(session, row, limits, keep_seconds=KEEP_SECONDS)
    else:
        row.offset_bytes = body.size_bytes
        row.completed_at = func.clock_timestamp()
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


async def _found(
    database: Database, objects: ObjectStore, workspace_id: str, body: UploadCreate, sha256: str
) -> str | None:
    """The hash that is announced, if the workspace has its bytes, intact.

    They are marked as in use before they are looked for, so no collection takes them between the
    look and the answer.
    """
    async with database.session() as session:
        sizes = await blobs.touch(session, workspace_id, [sha256])
    if sha256 not in sizes:
        return None
    if sizes[sha256] != body.size_bytes:
        raise invalid_field(
            "/size_bytes",
            "size_mismatch",
            f"The bytes of this hash are {sizes[sha256]}, not {body.size_bytes}.",
        )
    return sha256 if await objects.exists(sha256) else None


async def give_up(session: AsyncSession, objects: ObjectStore, upload: Upload) -> None:
    """Forget an upload and remove what came of it; its blob, if it was completed, stays."""
    await session.delete(upload)
    await session.flush()
    path = objects.partial_path(upload.id)
    await anyio.to_thread.run_sync(functools.partial(path.unlink, missing_ok=True))
