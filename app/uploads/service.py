"""Uploads in pieces: beginning one and giving one up."""

import functools
import hashlib

import anyio.to_thread
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from app.blobs import repository as blobs
from app.blobs.errors import BlobTooLarge
from app.kernel.errors import invalid_field
from app.kernel.ids import new_id
from app.storage.objects import ObjectStore
from app.storage.writer import StoredObject
from app.tables.upload import Upload
from app.uploads.limits import Limits, check_others
from app.uploads.schemas import UploadCreate

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
KEEP_SECONDS = 7 * 24 * 3600.0
"""An upload that nobody goes on with is given up after so long."""


async def create(
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
    if body.size_bytes == 0 and body.sha256 is None:
        body = UploadCreate(size_bytes=0, sha256=EMPTY_SHA256)
        await blobs.add(session, workspace_id, [await objects.put_bytes(b"")])
    if body.sha256 is not None:
        sizes = await blobs.sizes(session, workspace_id, [body.sha256])
        size_bytes = sizes.get(body.sha256)
        if size_bytes is not None and size_bytes != body.size_bytes:
            raise invalid_field(
                "/size_bytes",
                "size_mismatch",
                f"The bytes of this hash are {size_bytes}, not {body.size_bytes}.",
            )
        if size_bytes is not None and await objects.exists(body.sha256):
            row.found_sha256 = body.sha256
            row.offset_bytes = size_bytes
            row.completed_at = func.clock_timestamp()
            # Touched: it is in use again from now on.
            await blobs.add(
                session, workspace_id, [StoredObject(sha256=body.sha256, size_bytes=size_bytes)]
            )
    if row.completed_at is None:
        await check_others(session, row, limits, keep_seconds=KEEP_SECONDS)
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


async def give_up(session: AsyncSession, objects: ObjectStore, upload: Upload) -> None:
    """Forget an upload and remove what came of it; its blob, if it was completed, stays."""
    await session.delete(upload)
    await session.flush()
    path = objects.partial_path(upload.id)
    await anyio.to_thread.run_sync(functools.partial(path.unlink, missing_ok=True))
