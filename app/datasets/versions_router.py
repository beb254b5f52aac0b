"""Routes of dataset versions and their files."""

import posixpath
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.auth.access import UserAccess, UserOrRunAccess
from app.auth.needs import needs
from app.datasets import repository
from app.datasets.checks import check_file, check_version
from app.datasets.errors import DatasetUnreachable
from app.datasets.fetch import policy_from
from app.datasets.read import read_check, read_version
from app.datasets.schemas import DatasetFileRead, DatasetVersionRead, VersionCheckRead
from app.datasets.stored import with_datastores
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.media import BytesResponse
from app.kernel.names import TitlePath
from app.kernel.odd_rows import one
from app.kernel.pagination import Page, PageDep
from app.storage.access import ObjectsDep
from app.storage.serve import object_response
from app.workspaces.access import WorkspaceDep
from app.workspaces.detached import DetachedWorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/datasets/{dataset}/versions", tags=["datasets"]
)
VersionPath = Annotated[
    str, Path(pattern=r"^([1-9][0-9]{0,8}|latest)$", description="A number, or latest")
]


@router.get("")
@needs("datasets.read", run=True)
async def list_dataset_versions(
    workspace: WorkspaceDep,
    dataset: TitlePath,
    session: SessionDep,
    page: PageDep,
    _: UserOrRunAccess,
) -> Page[DatasetVersionRead]:
    """Versions, newest first."""
    row = await repository.get(session, workspace.id, dataset)
    versions, following = await repository.list_versions_page(session, row, page)
    return Page.of(
        versions,
        partial(read_version, row),
        following,
        name_of=lambda version: str(version.version),
    )


@router.get("/{version}")
@needs("datasets.read", run=True)
async def get_dataset_version(
    workspace: WorkspaceDep,
    dataset: TitlePath,
    version: VersionPath,
    session: SessionDep,
    _: UserOrRunAccess,
) -> DatasetVersionRead:
    """One version."""
    row = await repository.get(session, workspace.id, dataset)
    found = await repository.get_version(session, row, version)
    with one(found):
        return read_version(row, found)


@router.get("/{version}/files")
@needs("datasets.read", run=True)
async def list_dataset_files(
    workspace: WorkspaceDep,
    dataset: TitlePath,
    version: VersionPath,
    session: SessionDep,
    page: PageDep,
    _: UserOrRunAccess,
) -> Page[DatasetFileRead]:
    """Files by path, with what pins them."""
    row = await repository.get(session, workspace.id, dataset)
    found = await repository.get_version(session, row, version)
    files, following = await repository.list_files_page(session, found.id, page)
    return Page(
        items=[DatasetFileRead.model_validate(file) for file in files], next_page_token=following
    )


@router.post("/{version}/verify")
@needs("datasets.write")
async def verify_dataset_version(
    workspace: DetachedWorkspaceDep,
    dataset: TitlePath,
    version: VersionPath,
    request: Request,
    database: DatabaseDep,
    objects: ObjectsDep,
    _: UserAccess,
) -> VersionCheckRead:
    """Ask every source whether it still holds what the version pins, and tell per file."""
    async with database.session() as session:
        row = await repository.get(session, workspace.id, dataset)
        found = await repository.get_version(session, row, version)
    policy = policy_from(request.app.state.settings)
    checks = await check_version(database, objects, version_id=found.id, policy=policy)
    states = {check.state for check in checks}
    return VersionCheckRead.model_validate(
        {
            "name": row.name,
            "version": found.version,
            "state": next(s for s in ("changed", "unreachable", "unchanged") if s in states),
            "files": [read_check(check) for check in checks],
        }
    )


@router.head("/{version}/files/{path:path}", include_in_schema=False)
@router.get("/{version}/files/{path:path}", response_class=BytesResponse)
@needs("datasets.read", run=True)
async def download_dataset_file(
    workspace: DetachedWorkspaceDep,
    dataset: TitlePath,
    version: VersionPath,
    path: str,
    request: Request,
    database: DatabaseDep,
    objects: ObjectsDep,
    _: UserOrRunAccess,
) -> Response:
    """Download the bytes of a file as the version pins them."""
    async with database.session() as session:
        row = await repository.get(session, workspace.id, dataset)
        found = await repository.get_version(session, row, version)
        file = await repository.get_file(session, found, path)
    if not await objects.exists(file.sha256):
        policy = policy_from(request.app.state.settings)
        async with database.session() as session:
            policy = await with_datastores(session, workspace.id, [file.url], policy)
        check = await check_file(objects, file, policy=policy)
        if not check.is_cached:
            raise DatasetUnreachable(check.message)
    return await object_response(
        request,
        objects,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        filename=posixpath.basename(file.path),
    )
