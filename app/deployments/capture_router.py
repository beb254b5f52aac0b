"""Routes of captured predictions."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.auth.access import UserAccess
from app.auth.idempotency import REPEATABLE
from app.auth.needs import Need, check, needs
from app.auth.writes import WriteRoute
from app.datasets import service as datasets
from app.datasets.made import MadeFile
from app.datasets.read import read_version
from app.datasets.schemas import DatasetVersionRead
from app.deployments import capture_repository, repository
from app.deployments.errors import NothingCaptured
from app.deployments.schemas import CaptureFileRead, CapturesRegister, DeploymentPath
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.errors import invalid_field
from app.kernel.pagination import Page, PageDep
from app.kernel.urls import absolute_url
from app.storage.access import ObjectsDep
from app.storage.serve import object_response
from app.tables.capture import CaptureFile
from app.tables.dataset import Dataset
from app.workspaces.access import WorkspaceDep
from app.workspaces.detached import DetachedWorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/deployments/{deployment}/captures",
    tags=["deployments"],
    route_class=WriteRoute,
)
_MOST_FILES = 10_000
CapturePath = Annotated[str, Path(pattern=r"^[\w-]{1,64}$", description="As the list has it")]


@router.get("")
@needs("deployments.read")
async def list_captures(
    workspace: WorkspaceDep,
    deployment: DeploymentPath,
    session: SessionDep,
    page: PageDep,
    _: UserAccess,
) -> Page[CaptureFileRead]:
    """Files of captured predictions, the newest first."""
    row = await repository.get(session, workspace.id, deployment)
    rows, following = await capture_repository.list_page(session, row.id, page)
    items = [
        CaptureFileRead(
            id=each.id,
            path=_file_name(each),
            sha256=each.sha256,
            size_bytes=each.size_bytes,
            record_count=each.record_count,
            first_at=each.first_at,
            last_at=each.last_at,
            expires_at=each.expires_at,
        )
        for each in rows
    ]
    return Page(items=items, next_page_token=following)


@router.get(
    "/{capture_id}",
    response_class=Response,
    responses={200: {"content": {"application/x-ndjson": {}}}},
)
@router.head("/{capture_id}", include_in_schema=False)
@needs("deployments.keys")
async def download_capture(
    workspace: DetachedWorkspaceDep,
    deployment: DeploymentPath,
    capture_id: CapturePath,
    request: Request,
    database: DatabaseDep,
    objects: ObjectsDep,
    _: UserAccess,
) -> Response:
    """One file: a line of JSON for each prediction.

    What callers sent is shown to whoever may have the deployment's keys.
    """
    async with database.session() as session:
        row = await repository.get(session, workspace.id, deployment)
        found = await capture_repository.get(session, row.id, capture_id)
    return await object_response(
        request,
        objects,
        sha256=found.sha256,
        size_bytes=found.size_bytes,
        filename=_file_name(found),
        media_type="application/x-ndjson",
    )


@router.post("/register", status_code=201, dependencies=[REPEATABLE])
@needs("datasets.write")
async def register_captures(
    workspace: WorkspaceDep,
    deployment: DeploymentPath,
    body: CapturesRegister,
    session: SessionDep,
    request: Request,
    response: Response,
    principal: UserAccess,
) -> DatasetVersionRead:
    """Make the next version of a dataset out of captured files; it keeps them for good.

    It needs `deployments.keys` as well: the dataset shows what callers sent.
    """
    check(Need("deployments.keys"), principal, request.path_params)
    row = await repository.get(session, workspace.id, deployment)
    files = await capture_repository.between(
        session, row.id, after=body.after, before=body.before, most=_MOST_FILES + 1
    )
    if not files:
        raise NothingCaptured(f"Deployment {row.name!r} has no captured files of this time.")
    if len(files) > _MOST_FILES:
        message = f"There are more than {_MOST_FILES} files of this time: say a shorter one."
        raise invalid_field("/after", "too_many_files", message)
    version = await datasets.add_made(
        session,
        workspace_id=workspace.id,
        name=body.dataset_name,
        description=body.description,
        files=[
            MadeFile(
                path=_file_name(file),
                origin=f"deployments/{row.name}/captures/{file.id}",
                sha256=file.sha256,
                size_bytes=file.size_bytes,
            )
            for file in files
        ],
        lineage={"deployment_id": row.id},
    )
    dataset = await session.get_one(Dataset, version.dataset_id)
    path = f"/v1/workspaces/{workspace.name}/datasets/{dataset.name}/versions/{version.version}"
    response.headers["Location"] = absolute_url(request, path)
    return read_version(dataset, version)


def _file_name(row: CaptureFile) -> str:
    return f"{row.first_at:%Y%m%dT%H%M%SZ}-{row.id}.ndjson"
