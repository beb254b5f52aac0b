"""Model files from an archive or a single file that was uploaded, or that lies at an address."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import anyio.to_thread

from app.datasets.errors import ContentChanged
from app.datasets.fetch import fetch_into
from app.datasets.source import FetchPolicy
from app.datasets.threads import in_fetch_thread
from app.kernel.errors import invalid_field
from app.models.errors import ModelArchiveInvalid, ModelArchiveTooLarge
from app.models.schemas import MAX_FILES, ModelFile
from app.storage.archives import open_archive
from app.storage.entries import ArchiveLimits
from app.storage.errors import ArchiveRejected, ObjectTooLarge, PathRejected
from app.storage.objects import ObjectStore
from app.storage.paths import check_path

_MAX_RATIO = 1000
"""Weights of zeros pack well."""
_SINGLE = frozenset({".keras", ".h5", ".hdf5", ".onnx"})
"""Formats of models that are one file. A Keras file is a zip archive, and stays as it is."""


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
    try:
        async with objects.spool(stream, max_bytes=max_bytes) as path:
            return await _unpacked(objects, path, max_bytes=max_bytes)
    except ObjectTooLarge as error:
        raise ModelArchiveTooLarge(f"The archive has {error.message}.") from None


async def store_file(
    objects: ObjectStore, stream: AsyncIterator[bytes], *, name: str, max_bytes: int
) -> list[ModelFile]:
    """Store a model that is one file.

    Args:
        objects: where to.
        stream: its bytes.
        name: of the file; its suffix says what it is.
        max_bytes: at most so many.

    Raises:
        ModelArchiveTooLarge: it has more.
    """
    try:
        stored = await objects.put(stream, max_bytes=max_bytes)
    except ObjectTooLarge as error:
        raise ModelArchiveTooLarge(f"The file has {error.message}.") from None
    return [ModelFile(path=name, sha256=stored.sha256, size_bytes=stored.size_bytes)]


async def store_fetched(
    objects: ObjectStore, url: str, *, policy: FetchPolicy, expected_sha256: str | None
) -> list[ModelFile]:
    """Fetch a model from an address: an archive, or one file, as its name says.

    Args:
        objects: where to.
        url: a web address, or a file in a datastore.
        policy: bounds of the fetch; its `max_bytes` hold unpacked as well.
        expected_sha256: of what lies there; None: whatever it is.

    Raises:
        SourceError: it cannot be fetched.
        Invalid: it is another file than was expected.
        ModelArchiveInvalid: it is no model file and no archive, or an unsafe one.
        ModelArchiveTooLarge: the archive is over a limit.
    """
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if is_single(name):
        _check_name(name)
    fetch = partial(fetch_into, objects, url, policy=policy, expected_sha256=expected_sha256)
    try:
        found = await in_fetch_thread(fetch)
    except ContentChanged as error:
        message = f"The file has the SHA-256 {error.found.sha256}."
        raise invalid_field("/sha256", "sha256_mismatch", message) from None
    if is_single(name):
        return [ModelFile(path=name, sha256=found.sha256, size_bytes=found.size_bytes)]
    path = await objects.fetch(found.sha256)
    if path is None:
        raise ModelArchiveInvalid("What was fetched is damaged in the store; try again.")
    return await _unpacked(objects, path, max_bytes=policy.max_bytes)


def _check_name(name: str) -> None:
    try:
        check_path(name)
    except PathRejected as error:
        raise invalid_field(
            "/url", error.code, f"The name of the file is {error.reason}."
        ) from None


def is_single(name: str) -> bool:
    """Whether a file of this name is a whole model, not an archive of one."""
    return PurePosixPath(name).suffix.lower() in _SINGLE


async def _unpacked(objects: ObjectStore, path: Path, *, max_bytes: int) -> list[ModelFile]:
    limits = ArchiveLimits(
        max_files=MAX_FILES,
        max_total_bytes=max_bytes,
        max_entries=MAX_FILES * 2,
        max_unpacked_bytes=max_bytes,
        max_ratio=_MAX_RATIO,
    )
    try:
        return await anyio.to_thread.run_sync(_store_members, objects, path, limits)
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
