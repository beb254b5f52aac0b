"""Routes of datasets."""

from fastapi import APIRouter, Request, Response

from app.auth.access import UserAccess, UserOrRunAccess
from app.auth.idempotency import REPEATABLE_DETACHED
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.datasets import repository, service
from app.datasets.errors import DatasetInUse
from app.datasets.read import read_dataset, read_registration, read_version
from app.datasets.schemas import (
    DatasetRead,
    DatasetRegister,
    DatasetUpdate,
    DatasetVersionRead,
    RegistrationRead,
)
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.errors import Conflict
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.names import TitlePath
from app.kernel.odd_rows import one
from app.kernel.pagination import Page, PageDep
from app.kernel.prefer import PreferWaitDep
from app.kernel.row_locks import locked, still_there
from app.kernel.tags import merged_tags
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES
from app.lineage import repository as lineage
from app.workspaces.access import WorkspaceDep
from app.workspaces.detached import DetachedWorkspaceDep

_SHOWN = 10

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/datasets", tags=["datasets"], route_class=WriteRoute
)


@router.post(
    "",
    status_code=201,
    responses={
        200: {"model": DatasetVersionRead, "description": "The latest version is the same"},
        202: {"model": RegistrationRead, "description": "Still being fetched; see Location"},
    },
    dependencies=[REPEATABLE_DETACHED],
)
@needs("datasets.write")
async def register_dataset(
    workspace: DetachedWorkspaceDep,
    body: DatasetRegister,
    request: Request,
    response: Response,
    database: DatabaseDep,
    wait_seconds: PreferWaitDep,
    _: UserAccess,
) -> DatasetVersionRead | RegistrationRead:
    """Register files at web addresses: they are fetched, and pinned by size, ETag and SHA-256.

    201: a new version. 200: the latest version has this content already. 202: not done within
    `Prefer: wait=SECONDS` (default 60); ask the registration at `Location`.
    """
    async with database.session() as session:
        asked = await service.ask(session, workspace_id=workspace.id, request=body)
    signals = request.app.state.signals
    row = await service.wait(database, signals, registration=asked, seconds=wait_seconds)
    base = f"/v1/workspaces/{workspace.name}/datasets/{row.name}"
    async with database.session() as session:
        answer = await read_registration(session, row)
        if row.state == "Failed":
            raise service.failure_of(row, body)
        if row.state == "Pending" or answer.version is None:
            response.status_code = 202
            response.headers["Location"] = absolute_url(request, f"{base}/registrations/{row.id}")
            response.headers["Retry-After"] = "1"
            return answer
        dataset = await repository.get(session, workspace.id, row.name)
        version = await repository.get_version(session, dataset, str(answer.version))
    response.status_code = 201 if row.created_version else 200
    response.headers["Location"] = absolute_url(request, f"{base}/versions/{version.version}")
    return read_version(dataset, version)


@router.get("/{dataset}/registrations/{registration_id}")
@needs("datasets.read")
async def get_dataset_registration(
    workspace: WorkspaceDep,
    dataset: TitlePath,
    registration_id: str,
    session: SessionDep,
    _: UserAccess,
) -> RegistrationRead:
    """How far a registration is."""
    row = await repository.get_registration(session, workspace.id, dataset, registration_id)
    with one(row):
        return await read_registration(session, row)


@router.get("")
@needs("datasets.read", run=True)
async def list_datasets(
    workspace: WorkspaceDep, session: SessionDep, page: PageDep, _: UserOrRunAccess
) -> Page[DatasetRead]:
    """Datasets by name."""
    rows, following = await repository.list_page(session, workspace.id, page)
    latest = await repository.latest_versions(session, [row.id for row in rows])
    return Page.of(rows, lambda row: read_dataset(row, latest.get(row.id, 0)), following)


@router.get("/{dataset}")
@needs("datasets.read", run=True)
async def get_dataset(
    workspace: WorkspaceDep,
    dataset: TitlePath,
    session: SessionDep,
    response: Response,
    _: UserOrRunAccess,
) -> DatasetRead:
    """One dataset."""
    row = await repository.get(session, workspace.id, dataset)
    latest = await repository.latest_versions(session, [row.id])
    response.headers["ETag"] = resource_etag(row.id, row.updated_at)
    with one(row):
        return read_dataset(row, latest.get(row.id, 0))


@router.patch("/{dataset}", dependencies=[VALIDATES])
@needs("datasets.write")
async def update_dataset(
    workspace: WorkspaceDep,
    dataset: TitlePath,
    body: DatasetUpdate,
    session: SessionDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> DatasetRead:
    """Change description and tags; what the body leaves out stays."""
    row = await locked(session, await repository.get(session, workspace.id, dataset))
    check_preconditions(request, resource_etag(row.id, row.updated_at))
    if "description" in body.model_fields_set:
        row.description = body.description or ""
    if "tags" in body.model_fields_set:
        with one(row):
            row.tags = merged_tags(row.tags, body.tags)
    await session.flush()
    await session.refresh(row)
    latest = await repository.latest_versions(session, [row.id])
    response.headers["ETag"] = resource_etag(row.id, row.updated_at)
    with one(row):
        return read_dataset(row, latest.get(row.id, 0))


@router.delete("/{dataset}", status_code=204)
@needs("datasets.write")
async def delete_dataset(
    workspace: WorkspaceDep,
    dataset: TitlePath,
    session: SessionDep,
    request: Request,
    _: UserAccess,
) -> None:
    """Delete a dataset with all its versions; 204 also when there is none.

    409 while a run that has not ended reads it, and while there is a model that was made from it.
    """
    row = await repository.find(session, workspace.id, dataset)
    row = row and await still_there(session, row)
    if row is None:
        return
    check_preconditions(request, resource_etag(row.id, row.updated_at))
    if await repository.has_pending(session, workspace.id, dataset):
        raise Conflict(f"Dataset {dataset!r} is being registered; wait for its end.")
    users = await lineage.users_of_dataset(session, row)
    if users:
        shown = ", ".join(users[:_SHOWN]) + (", …" if len(users) > _SHOWN else "")
        raise DatasetInUse(
            f"Dataset {dataset!r} is needed by: {shown}. Wait for the runs, or delete the models"
            " first: what they were made of is to stay known."
        )
    await session.delete(row)
