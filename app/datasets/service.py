"""Registering datasets: asked for by a route, worked off by a reconciler."""

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.blobs import repository as blobs
from app.datasets import repository
from app.datasets.errors import SOURCE_ERRORS, SourceError, SourceUrlInvalid
from app.datasets.fetched import FetchedFile
from app.datasets.guard import check_url
from app.datasets.layout import PlacedSource, place
from app.datasets.made import MadeFile
from app.datasets.schemas import DatasetRegister
from app.datastores import repository as datastores
from app.datastores.errors import DatastoreNotFound
from app.kernel.db import Database
from app.kernel.errors import FieldError, Invalid, invalid_field
from app.kernel.ids import new_id
from app.kernel.signals import Signals
from app.kernel.wake import signal, wake
from app.storage.writer import StoredObject
from app.tables.dataset import Dataset, DatasetFile, DatasetRegistration, DatasetVersion

TOPIC = DatasetRegistration.__tablename__
_LOOK_AGAIN_SECONDS = 1.0


class DatasetUrlInvalid(Invalid):
    """An address that datasets may not be made from."""

    code = "source_url_invalid"


async def ask(
    session: AsyncSession, *, workspace_id: str, request: DatasetRegister
) -> DatasetRegistration:
    """Write down a registration for the reconciler.

    Raises:
        DatasetUrlInvalid: an address is malformed, of another scheme, or carries a password.
        DatasetPathInvalid: paths are unsafe or collide.
        Invalid: there is no such datastore.
    """
    datastore = None
    if request.paths:
        try:
            datastore = (await datastores.get(session, workspace_id, request.datastore)).name
        except DatastoreNotFound as error:
            raise invalid_field("/datastore", error.code, error.detail) from error
    urls = []
    for index, (url, path) in enumerate(request.sources()):
        try:
            urls.append((check_url(url), path))
        except SourceUrlInvalid as error:
            message = f"{error.url}: {error.detail}"
            field = FieldError(request.pointer(index), error.code, message)
            raise DatasetUrlInvalid(message, errors=[field]) from None
    placed = place(urls, layout=request.layout)
    row = DatasetRegistration(
        id=new_id("dsr"),
        workspace_id=workspace_id,
        name=request.name,
        request={
            "description": request.description,
            "tags": request.tags,
            "create_new_version": request.create_new_version,
            "files": [{"url": source.url, "path": source.path} for source in placed],
            "datastore": datastore,
            "patterns": request.paths,
        },
    )
    session.add(row)
    await session.flush()
    await wake(session, DatasetRegistration, row.id)
    return row


async def wait(
    database: Database, signals: Signals, *, registration: DatasetRegistration, seconds: float
) -> DatasetRegistration:
    """Return the registration when it is done, or as it is after `seconds`."""
    ends_at = time.monotonic() + seconds
    with signals.subscribe(TOPIC, registration.id) as subscription:
        while True:
            async with database.session() as session:
                row = await repository.get_registration(
                    session, registration.workspace_id, registration.name, registration.id
                )
            left_seconds = ends_at - time.monotonic()
            if row.state != "Pending" or left_seconds <= 0:
                return row
            await subscription.wait(timeout_seconds=min(left_seconds, _LOOK_AGAIN_SECONDS))


def placed_sources(registration: DatasetRegistration) -> list[PlacedSource]:
    """The files that a registration asks for."""
    files: list[dict[str, str]] = registration.request["files"]
    return [PlacedSource(url=file["url"], path=file["path"]) for file in files]


async def succeed(
    session: AsyncSession,
    registration: DatasetRegistration,
    fetched: list[tuple[PlacedSource, FetchedFile]],
) -> DatasetVersion:
    """Turn fetched files into a version, or find that the latest one is the same."""
    request = registration.request
    dataset = await repository.lock_or_create(session, registration.workspace_id, registration.name)
    latest = await repository.find_latest(session, dataset.id)
    fingerprint = _fingerprint((source.path, file.sha256) for source, file in fetched)
    version = latest
    is_new = (
        latest is None or latest.fingerprint != fingerprint or bool(request["create_new_version"])
    )
    if version is None or is_new:
        number = 1 if latest is None else latest.version + 1
        version = await _add_version(session, dataset, number, fingerprint, request, fetched)
    stored = [StoredObject(sha256=f.sha256, size_bytes=f.size_bytes) for _, f in fetched]
    await blobs.add(session, registration.workspace_id, stored)
    if request["description"]:
        dataset.description = request["description"]
    if request["tags"]:
        dataset.tags = request["tags"]
    registration.state = "Succeeded"
    registration.version_id = version.id
    registration.created_version = is_new
    signal(session, TOPIC, registration.id)
    return version


async def add_made(
    session: AsyncSession,
    *,
    workspace_id: str,
    name: str,
    description: str,
    files: Sequence[MadeFile],
    lineage: dict[str, Any],
) -> DatasetVersion:
    """Make the next version of a dataset out of files that the workspace made itself.

    Args:
        session: the transaction.
        workspace_id: the workspace, which has the bytes.
        name: of the dataset; made when there is none.
        description: of the version.
        files: what it consists of.
        lineage: as `DatasetLineage`.
    """
    dataset = await repository.lock_or_create(session, workspace_id, name)
    latest = await repository.find_latest(session, dataset.id)
    version = DatasetVersion(
        id=new_id("dsv"),
        dataset_id=dataset.id,
        version=1 if latest is None else latest.version + 1,
        description=description,
        tags={},
        fingerprint=_fingerprint((file.path, file.sha256) for file in files),
        file_count=len(files),
        size_bytes=sum(file.size_bytes for file in files),
        lineage=lineage,
    )
    session.add(version)
    await session.flush()
    session.add_all(
        DatasetFile(
            version_id=version.id,
            path=file.path,
            url=file.url,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
        )
        for file in files
    )
    stored = [StoredObject(sha256=file.sha256, size_bytes=file.size_bytes) for file in files]
    await blobs.add(session, workspace_id, stored)
    await session.flush()
    return version


def fail(session: AsyncSession, registration: DatasetRegistration, error: SourceError) -> None:
    """Write down why a registration failed."""
    registration.state = "Failed"
    registration.error = {"code": error.code, "message": error.detail, "url": error.url}
    signal(session, TOPIC, registration.id)


def failure_of(registration: DatasetRegistration, request: DatasetRegister) -> SourceError:
    """The error of a failed registration, as the answer to the request for it."""
    error = registration.error or {}
    kind = SOURCE_ERRORS.get(error.get("code", ""), SourceError)
    url = str(error.get("url", ""))
    message = str(error.get("message", ""))
    failure = kind(f"{url}: {message}" if url else message, url=url)
    failure.errors = tuple(
        FieldError(request.pointer(index), failure.code, failure.detail)
        for index, source in enumerate(placed_sources(registration))
        if source.url == url
    )
    return failure


async def _add_version(
    session: AsyncSession,
    dataset: Dataset,
    number: int,
    fingerprint: str,
    request: dict[str, Any],
    fetched: list[tuple[PlacedSource, FetchedFile]],
) -> DatasetVersion:
    version = DatasetVersion(
        id=new_id("dsv"),
        dataset_id=dataset.id,
        version=number,
        description=request["description"],
        tags=request["tags"],
        fingerprint=fingerprint,
        file_count=len(fetched),
        size_bytes=sum(file.size_bytes for _, file in fetched),
    )
    session.add(version)
    await session.flush()
    session.add_all(
        DatasetFile(
            version_id=version.id,
            path=source.path,
            url=source.url,
            size_bytes=file.size_bytes,
            etag=file.etag,
            last_modified=file.last_modified,
            sha256=file.sha256,
        )
        for source, file in fetched
    )
    await session.flush()
    return version


def _fingerprint(files: Iterable[tuple[str, str]]) -> str:
    lines = sorted([path, sha256] for path, sha256 in files)
    return hashlib.sha256(json.dumps(lines, separators=(",", ":")).encode()).hexdigest()
