"""Model files from an uploaded archive."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread

from app.models.errors import ModelArchiveInvalid, ModelArchiveTooLarge
from app.models.schemas import MAX_FILES, ModelFile
from app.storage.archives import open_archive
from app.storage.entries import ArchiveLimits
from app.storage.errors import ArchiveRejected, ObjectTooLarge, PathRejected
from app.storage.objects import ObjectStore

_MAX_RATIO = 1000
"""Weights of zeros pack well."""


async def store_archive(
    objects: ObjectStore, stream: AsyncIterator[bytes], *, max_bytes: int
) -> list[ModelFile]:
    """Store the files of a tar, tar.gz or zip archive.

    Args:
        objects: where to.
        stream: the archive.
        max_bytes: at most so many, packed and unpacked.

    Raises:
        ModelArchiveInvalid: it is malformed or unsafe.
        ModelArchiveTooLarge: it is over a limit.
    """
    limits = ArchiveLimits(
        max_files=MAX_FILES,
        max_total_bytes=max_bytes,
        max_entries=MAX_FILES * 2,
        max_unpacked_bytes=max_bytes,
        max_ratio=_MAX_RATIO,
    )
    try:
        async with objects.spool(stream, max_bytes=max_bytes) as path:
            return await anyio.to_thread.run_sync(_store_members, objects, path, limits)
    except ObjectTooLarge as error:
        raise ModelArchiveTooLarge(f"The archive has {error.message}.") from None
    except ArchiveRejected as error:
        refusal = ModelArchiveTooLarge if error.too_large else ModelArchiveInvalid
        raise refusal(f"{error.code}: {error.message}.") from None
    except PathRejected as error:
        raise ModelArchiveInvalid(f"{error.code}: {error.message}.") from None


def _store_members(objects: ObjectStore, path: Path, limits: ArchiveLimits) -> list[ModelFile]:
    files = []
    with open_archive(path, limits=limits, use_ignore_files=False) as archive:
        for entry in archive.entries:
            with objects.writer(max_bytes=entry.size_bytes) as writer:
                for chunk in archive.chunks(entry):
                    writer.write(chunk)
                stored = writer.commit()
            files.append(
                ModelFile(path=entry.path, sha256=stored.sha256, size_bytes=stored.size_bytes)
            )
    return files
