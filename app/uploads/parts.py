"""Uploads in numbered parts, which come in any order, and are put together when all are there.

Each part is a file of its own until then; its ETag is the hash of its bytes, and whoever completes
the upload names all of them, so no other bytes than those become the whole.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio.to_thread
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.crash_points import CrashPoint, reached
from app.kernel.db import Database
from app.kernel.ids import new_id
from app.storage.objects import ObjectStore
from app.storage.writer import CHUNK_BYTES, StoredObject, sha256_of
from app.tables.upload import PartUpload
from app.uploads import repository
from app.uploads.errors import PartMissing, PartsMismatch, PartUnknown, UploadComplete
from app.uploads.limits import Limits, check_growth, check_others

MOST_PARTS = 10_000
_GIVEN_UP_AT_ONCE = 100


async def create(
    session: AsyncSession,
    *,
    workspace_id: str,
    target: str,
    part_count: int,
    created_by: str,
    caller: str,
    limits: Limits,
    keep_seconds: float,
) -> PartUpload:
    """Begin an upload; its size shows with its parts.

    Raises:
        TooManyUploads: too many others of the workspace are under way.
        TooManyUploadsOfCaller: too many others of the caller are.
    """
    row = PartUpload(
        id=new_id("mpu"),
        workspace_id=workspace_id,
        target=target,
        part_count=part_count,
        size_bytes=0,
        created_by=created_by,
        caller=caller,
    )
    await check_others(session, row, limits, keep_seconds=keep_seconds)
    session.add(row)
    await session.flush()
    return row


async def receive(
    database: Database,
    objects: ObjectStore,
    upload: PartUpload,
    number: int,
    stream: AsyncIterator[bytes],
    *,
    limits: Limits,
    keep_seconds: float,
) -> str:
    """Keep a part; the same one again takes its place. One that breaks off leaves nothing.

    Args:
        database: where its size is noted.
        objects: beside which it lies.
        upload: that it is of.
        number: from 1 on.
        stream: its bytes.
        limits: of the installation.
        keep_seconds: after so long the abandoned uploads are given up.

    Returns:
        Its SHA-256.

    Raises:
        PartUnknown: the upload has no part of this number.
        UploadComplete: the parts were put together already.
        ObjectTooLarge: all parts together would be too large.
        TooManyUploads: all uploads of the workspace together would be.
        UploadNotFound: the upload was given up meanwhile.
    """
    if not 1 <= number <= upload.part_count:
        raise PartUnknown(f"This upload has parts 1 to {upload.part_count}.")
    if upload.completed_at is not None:
        raise UploadComplete("The upload is complete; its parts are one file now.")
    path = _path(objects, upload.id, number)
    async with objects.spool(stream, max_bytes=limits.blob_bytes) as spooled:
        found = await anyio.to_thread.run_sync(sha256_of, spooled)
        async with database.session() as session:
            row = await repository.lock(session, PartUpload, upload.id)
            if row.completed_at is not None:
                raise UploadComplete("The upload is complete; its parts are one file now.")
            grown_bytes = await anyio.to_thread.run_sync(_growth, spooled, path)
            await check_growth(
                session, row, limits, grown_bytes=grown_bytes, keep_seconds=keep_seconds
            )
            row.size_bytes += grown_bytes
            await anyio.to_thread.run_sync(spooled.rename, path)
    return found


async def join(
    objects: ObjectStore, upload: PartUpload, etags: Sequence[str], *, max_bytes: int
) -> StoredObject:
    """Store all parts as one object.

    Args:
        objects: where it is stored.
        upload: whose parts they are.
        etags: of all its parts, in their order.
        max_bytes: of the whole.

    Raises:
        PartsMismatch: they are not as many, or one is another.
        PartMissing: one is not there.
        ObjectTooLarge: all of them together are too large.
    """
    if len(etags) != upload.part_count:
        raise PartsMismatch(f"This upload has {upload.part_count} parts; {len(etags)} are named.")
    paths = [_path(objects, upload.id, number) for number in _numbers(upload)]
    stored = await anyio.to_thread.run_sync(_join, objects, paths, etags, max_bytes)
    reached(CrashPoint.UPLOAD_JOINED)
    return stored


async def complete(session: AsyncSession, upload: PartUpload, stored: StoredObject) -> bool:
    """Write down that the parts were put together, in the transaction that uses the whole.

    Returns:
        Whether they were not before: only then may the whole be used.

    Raises:
        UploadNotFound: the upload was given up meanwhile.
        UploadComplete: it was completed meanwhile, with other parts.
    """
    row = await repository.lock(session, PartUpload, upload.id)
    if row.completed_at is not None:
        if row.found_sha256 != stored.sha256:
            raise UploadComplete("The upload was completed with other parts.")
        return False
    row.found_sha256, row.size_bytes = stored.sha256, stored.size_bytes
    row.completed_at = func.clock_timestamp()
    return True


async def remove_files(objects: ObjectStore, upload: PartUpload) -> None:
    """Remove the parts of an upload that is complete or given up."""
    paths = [_path(objects, upload.id, number) for number in _numbers(upload)]
    await anyio.to_thread.run_sync(_remove, *paths)


async def give_up_abandoned(
    database: Database, objects: ObjectStore, *, keep_seconds: float
) -> int:
    """Give up what nobody has gone on with for so long, complete or not; returns how many."""
    count, is_over = 0, False
    while not is_over:
        async with database.session() as session:
            rows = await repository.abandoned(
                session, PartUpload, keep_seconds=keep_seconds, limit=_GIVEN_UP_AT_ONCE
            )
            for row in rows:
                await session.delete(row)
        for row in rows:
            await remove_files(objects, row)
        count += len(rows)
        is_over = len(rows) < _GIVEN_UP_AT_ONCE
    return count


def upload_id_of(partial_name: str) -> str:
    """The upload that a file of this name belongs to, in parts or not."""
    return partial_name.partition(".")[0]


def _numbers(upload: PartUpload) -> range:
    return range(1, upload.part_count + 1)


def _path(objects: ObjectStore, upload_id: str, number: int) -> Path:
    return objects.partial_path(f"{upload_id}.{number}")


def _growth(spooled: Path, path: Path) -> int:
    """How many bytes more there are when a part has taken its place."""
    before_bytes = path.stat().st_size if path.exists() else 0
    return spooled.stat().st_size - before_bytes


def _join(
    objects: ObjectStore, paths: Sequence[Path], etags: Sequence[str], max_bytes: int
) -> StoredObject:
    with objects.writer(max_bytes=max_bytes) as writer:
        for number, (path, etag) in enumerate(zip(paths, etags, strict=True), start=1):
            digest = hashlib.sha256()
            try:
                source = path.open("rb")
            except FileNotFoundError:
                raise PartMissing(f"Part {number} was not sent.") from None
            with source:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
                    writer.write(chunk)
            if digest.hexdigest() != etag.removeprefix("W/").strip('"'):
                raise PartsMismatch(f"Part {number} that is here has another ETag: send it again.")
        return writer.commit()


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
