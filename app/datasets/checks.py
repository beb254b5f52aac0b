"""Comparing a version with its sources: datasets cannot drift.

No database session is open while the network is asked.
"""

import dataclasses
import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import anyio

from app.datasets import repository
from app.datasets.errors import (
    ContentChanged,
    DatasetDrift,
    DatasetSourceLost,
    DatasetUnreachable,
    SourceError,
)
from app.datasets.fetch import fetch_into, revalidate
from app.datasets.fetched import FetchedFile, Unchanged, Validators
from app.datasets.source import FetchPolicy
from app.datasets.stored import with_datastores
from app.datasets.threads import in_fetch_thread
from app.kernel.db import Database
from app.storage.objects import ObjectStore
from app.tables.dataset import DatasetFile

MAX_FETCHES = 4
# With the bytes in the cache a slow source is not worth a long wait.
_QUICK_CONNECT_SECONDS = 3.0
_QUICK_IDLE_SECONDS = 10.0
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class FileCheck:
    """How one file's source compares with what the version pins."""

    file: DatasetFile
    state: Literal["unchanged", "changed", "unreachable"]
    is_cached: bool
    found: FetchedFile | None = None
    error: SourceError | None = None

    @property
    def message(self) -> str:
        """One line for a person."""
        if self.found is not None and self.state == "changed":
            return (
                f"{self.file.path}: {self.file.url} now has {self.found.size_bytes} bytes with"
                f" SHA-256 {self.found.sha256}; the version pins {self.file.size_bytes} bytes with"
                f" {self.file.sha256}"
            )
        if self.error is not None:
            return f"{self.file.path}: {self.file.url}: {self.error.detail}"
        return f"{self.file.path}: as pinned"


async def ensure_available(
    database: Database, objects: ObjectStore, *, version_id: str, policy: FetchPolicy
) -> list[dict[str, Any]]:
    """Make sure that every file of a version is in the cache and its source has not changed.

    A source that cannot be asked is no error while the pinned bytes are here: it is a warning.

    Args:
        database: for a short transaction before the network is asked.
        objects: the cache.
        version_id: the version.
        policy: bounds of the fetches.

    Returns:
        Warnings: `{"code", "message", "path", "url"}`.

    Raises:
        DatasetDrift: a source holds other content than pinned; names the file.
        DatasetUnreachable: bytes are missing and cannot be had now; later they may be.
        DatasetSourceLost: bytes are missing and their source refuses them.
    """
    checks = await check_version(database, objects, version_id=version_id, policy=policy)
    for check in checks:
        if check.state == "changed":
            raise DatasetDrift(check.message, drift=_drift(check))
    for check in checks:
        if check.error is not None and not check.is_cached:
            kind = DatasetUnreachable if check.error.is_transient else DatasetSourceLost
            raise kind(check.message, extensions={"path": check.file.path, "url": check.file.url})
    return [
        {
            "code": "dataset_source_unreachable",
            "message": f"{check.message}; the pinned copy is used",
            "path": check.file.path,
            "url": check.file.url,
        }
        for check in checks
        if check.error is not None
    ]


async def check_version(
    database: Database, objects: ObjectStore, *, version_id: str, policy: FetchPolicy
) -> list[FileCheck]:
    """Compare every file of a version with its source, and fetch what the cache lacks."""
    async with database.session() as session:
        files = await repository.list_files(session, version_id)
        workspace_id = await repository.workspace_of(session, version_id)
        urls = [file.url for file in files]
        policy = await with_datastores(session, workspace_id, urls, policy)
    return await in_parallel(lambda file: check_file(objects, file, policy=policy), files)


async def check_file(objects: ObjectStore, file: DatasetFile, *, policy: FetchPolicy) -> FileCheck:
    """Compare one file with its source, and fetch it when the cache lacks it."""
    is_cached = await objects.exists(file.sha256) or await objects.verify(file.sha256)
    known = Validators(etag=file.etag, last_modified=file.last_modified, size_bytes=file.size_bytes)
    ask: Callable[[], FetchedFile | Unchanged]
    if is_cached:
        quick = dataclasses.replace(
            policy,
            attempts=1,
            connect_seconds=min(policy.connect_seconds, _QUICK_CONNECT_SECONDS),
            idle_seconds=min(policy.idle_seconds, _QUICK_IDLE_SECONDS),
        )
        ask = functools.partial(revalidate, file.url, known=known, policy=quick)
    else:
        ask = functools.partial(
            fetch_into, objects, file.url, policy=policy, expected_sha256=file.sha256
        )
    try:
        found = await in_fetch_thread(ask)
    except ContentChanged as change:
        return FileCheck(file=file, state="changed", is_cached=is_cached, found=change.found)
    except SourceError as error:
        return FileCheck(file=file, state="unreachable", is_cached=is_cached, error=error)
    if isinstance(found, FetchedFile) and found.sha256 != file.sha256:
        return FileCheck(file=file, state="changed", is_cached=is_cached, found=found)
    return FileCheck(file=file, state="unchanged", is_cached=True)


async def in_parallel(work: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """Do `work` for all items, a few at a time; results in the items' order.

    The first exception ends the others and is raised as it is.
    """
    results: dict[int, R] = {}
    failures: list[Exception] = []
    limiter = anyio.CapacityLimiter(MAX_FETCHES)

    async def one(index: int, item: T, scope: anyio.CancelScope) -> None:
        async with limiter:
            try:
                results[index] = await work(item)
            except Exception as error:
                failures.append(error)
                scope.cancel()

    async with anyio.create_task_group() as group:
        for index, item in enumerate(items):
            group.start_soon(one, index, item, group.cancel_scope)
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(items))]


def _drift(check: FileCheck) -> dict[str, Any]:
    found = check.found
    return {
        "path": check.file.path,
        "url": check.file.url,
        "expected": state_of(check.file),
        "found": None if found is None else state_of(found),
    }


def state_of(file: DatasetFile | FetchedFile) -> dict[str, Any]:
    """Size, validators and digest, as the API shows them."""
    return {
        "size_bytes": file.size_bytes,
        "etag": file.etag,
        "last_modified": file.last_modified,
        "sha256": file.sha256,
    }
