"""Making snapshots from archives and from lists of blobs."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import anyio.to_thread

from app.blobs import repository as blobs
from app.blobs.errors import BlobsMissing
from app.kernel.db import Database
from app.kernel.errors import DomainError, FieldError
from app.snapshots import repository
from app.snapshots.errors import SnapshotInvalid, SnapshotTooLarge
from app.snapshots.manifest import Manifest, ManifestFile
from app.snapshots.schemas import SnapshotFile
from app.storage.archives import open_archive
from app.storage.entries import ArchiveLimits, Entry
from app.storage.errors import ArchiveRejected, ObjectTooLarge, PathRejected
from app.storage.ignore import MAX_IGNORE_FILE_BYTES, ignore_filter, rules_path
from app.storage.objects import ObjectStore
from app.storage.writer import ObjectWriter, StoredObject
from app.tables.snapshot import Snapshot

LIMITS = ArchiveLimits()
_MISSING_SHOWN = 100
_WRITERS = 8


async def create_from_archive(
    database: Database,
    objects: ObjectStore,
    *,
    workspace_id: str,
    stream: AsyncIterator[bytes],
    limits: ArchiveLimits = LIMITS,
) -> Snapshot:
    """Make a snapshot of a tar, tar.gz or zip archive; its ignore file is honoured.

    No database session is open while the bytes arrive.

    Raises:
        SnapshotInvalid: the archive is malformed or unsafe.
        SnapshotTooLarge: it is over a limit.
    """
    try:
        async with objects.spool(stream, max_bytes=limits.max_unpacked_bytes) as path:
            files = await anyio.to_thread.run_sync(_store_members, objects, path, limits)
        manifest = Manifest(files, limits=limits)
    except ObjectTooLarge as error:
        raise SnapshotTooLarge(
            f"The archive has {error.message}.", code="archive_too_large"
        ) from None
    except (ArchiveRejected, PathRejected) as error:
        raise _refusal(error) from None
    async with database.session() as session:
        stored = [StoredObject(sha256=f.sha256, size_bytes=f.size_bytes) for f in files]
        await blobs.add(session, workspace_id, stored)
        return await repository.get_or_create(session, workspace_id, manifest)


async def create_from_blobs(
    database: Database,
    objects: ObjectStore,
    *,
    workspace_id: str,
    files: list[SnapshotFile],
    limits: ArchiveLimits = LIMITS,
) -> Snapshot:
    """Make a snapshot of files whose bytes the workspace has; their ignore file is honoured.

    Raises:
        BlobsMissing: bytes of some of the files were never sent; lists them.
        SnapshotInvalid: a path is unsafe, or a size is not that of the bytes.
        SnapshotTooLarge: over a limit.
    """
    listed = [ManifestFile(**file.model_dump()) for file in files]
    try:
        kept = await _without_ignored(database, objects, workspace_id=workspace_id, files=listed)
        manifest = Manifest(kept, limits=limits)
    except (ArchiveRejected, PathRejected) as error:
        raise _refusal(error, _pointer(error, files)) from None
    await _check_blobs(database, objects, workspace_id=workspace_id, files=manifest.files)
    async with database.session() as session:
        return await repository.get_or_create(session, workspace_id, manifest)


def _store_members(objects: ObjectStore, path: Path, limits: ArchiveLimits) -> list[ManifestFile]:
    # Read in order, made durable side by side: flushing is what takes the time.
    files: list[ManifestFile] = []
    with (
        open_archive(path, limits=limits) as archive,
        ThreadPoolExecutor(_WRITERS) as pool,
    ):
        for start in range(0, len(archive.entries), _WRITERS):
            with ExitStack() as stack:
                batch = archive.entries[start : start + _WRITERS]
                writers = []
                for entry in batch:
                    writer = stack.enter_context(objects.writer(max_bytes=entry.size_bytes))
                    for chunk in archive.chunks(entry):
                        writer.write(chunk)
                    writers.append(writer)
                stored = pool.map(ObjectWriter.commit, writers)
                files += map(_manifest_file, batch, stored)
    return files


def _manifest_file(entry: Entry, stored: StoredObject) -> ManifestFile:
    return ManifestFile(
        path=entry.path,
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        executable=entry.is_executable,
    )


async def _without_ignored(
    database: Database, objects: ObjectStore, *, workspace_id: str, files: list[ManifestFile]
) -> list[ManifestFile]:
    by_path = {file.path: file for file in files}
    name = rules_path(by_path)
    rules = b""
    if name is not None:
        await _check_blobs(database, objects, workspace_id=workspace_id, files=[by_path[name]])
        pieces = await objects.open(by_path[name].sha256, end=MAX_IGNORE_FILE_BYTES + 1)
        rules = b"".join([piece async for piece in pieces])
    is_ignored = ignore_filter(rules, name=name or ".gitignore")
    return [file for file in files if not is_ignored(file.path)]


async def _check_blobs(
    database: Database, objects: ObjectStore, *, workspace_id: str, files: list[ManifestFile]
) -> None:
    digests = [file.sha256 for file in files]
    async with database.session() as session:
        sizes = await blobs.touch(session, workspace_id, digests)
    damaged = set(await objects.missing(sizes))
    missing = [f for f in files if f.sha256 not in sizes or f.sha256 in damaged]
    if missing:
        raise BlobsMissing(
            f"The bytes of {len(missing)} files were not sent yet: PUT them to /blobs first.",
            errors=[
                FieldError("/files", "blob_missing", f"{file.path}: {file.sha256}")
                for file in missing[:_MISSING_SHOWN]
            ],
            extensions={"missing": sorted({file.sha256 for file in missing})},
        )
    for file in files:
        if sizes[file.sha256] != file.size_bytes:
            raise SnapshotInvalid(
                f"{file.path!r} is announced with {file.size_bytes} bytes, its blob has"
                f" {sizes[file.sha256]}.",
                code="snapshot_size_mismatch",
                pointer="/files",
            )


def _pointer(error: ArchiveRejected | PathRejected, files: list[SnapshotFile]) -> str:
    if isinstance(error, PathRejected):
        for index, file in enumerate(files):
            if file.path == error.path:
                return f"/files/{index}/path"
    return "/files"


def _refusal(error: ArchiveRejected | PathRejected, pointer: str | None = None) -> DomainError:
    if isinstance(error, ArchiveRejected) and error.too_large:
        return SnapshotTooLarge(error.message, code=error.code)
    return SnapshotInvalid(error.message, code=error.code, pointer=pointer)
