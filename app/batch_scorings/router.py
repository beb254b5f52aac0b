"""Routes of batch scorings: make, list, show, cancel."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.auth.access import UserAccess
from app.auth.idempotency import REPEATABLE
from app.auth.needs import Need, check, needs
from app.auth.writes import WriteRoute
from app.batch_scorings import repository, service
from app.batch_scorings.schemas import BatchScoringCreate, BatchScoringRead
from app.deployments.program import publish_program
from app.kernel.config import SettingsDep
from app.kernel.db import SessionDep
from app.kernel.etags import resource_etag
from app.kernel.odd_rows import one
from app.kernel.pagination import Page, PageDep
from app.kernel.urls import absolute_url
from app.storage.access import ObjectsDep
from app.tables.batch_scoring import BatchScoring
from app.workspaces.access import WorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/batch-scorings",
    tags=["batch-scorings"],
    route_class=WriteRoute,
)
BatchScoringId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


@router.post("", status_code=201, dependencies=[REPEATABLE])
@needs("runs.write")
async def create_batch_scoring(
    workspace: WorkspaceDep,
    body: BatchScoringCreate,
    session: SessionDep,
    settings: SettingsDep,
    objects: ObjectsDep,
    request: Request,
    response: Response,
    principal: UserAccess,
) -> BatchScoringRead:
    """Score a dataset version with a model version; a run does it."""
    for permission in ("models.read", "datasets.read", "datasets.write"):
        check(Need(permission), principal, request.path_params)
    program = await publish_program(objects)
    row = await service.create(
        session, settings, workspace=workspace, body=body, program=program, actor=principal.name
    )
    location = absolute_url(request, f"/v1/workspaces/{workspace.name}/batch-scorings/{row.id}")
    response.headers["Location"] = location
    response.headers["ETag"] = _etag(row)
    with one(row):
        return await service.read(session, row)


@router.get("")
@needs("runs.read")
async def list_batch_scorings(
    workspace: WorkspaceDep, session: SessionDep, page: PageDep, _: UserAccess
) -> Page[BatchScoringRead]:
    """Batch scorings, the newest first."""
    rows, following = await repository.list_page(session, workspace.id, page)
    return Page.of(rows, await service.reader(session, rows), following)


@router.get("/{batch_scoring_id}")
@needs("runs.read")
async def get_batch_scoring(
    workspace: WorkspaceDep,
    batch_scoring_id: BatchScoringId,
    session: SessionDep,
    response: Response,
    _: UserAccess,
) -> BatchScoringRead:
    """One batch scoring: how far it is, and the dataset version that it made."""
    row = await repository.get(session, workspace.id, batch_scoring_id)
    response.headers["ETag"] = _etag(row)
    with one(row):
        return await service.read(session, row)


@router.post("/{batch_scoring_id}/cancel", status_code=202)
@needs("runs.write")
async def cancel_batch_scoring(
    workspace: WorkspaceDep,
    batch_scoring_id: BatchScoringId,
    session: SessionDep,
    response: Response,
    principal: UserAccess,
) -> BatchScoringRead:
    """Ask for the end of it and of its run; again changes nothing; 409 when it is over."""
    row = await repository.get(session, workspace.id, batch_scoring_id)
    row = await service.cancel(session, row, actor=principal.name)
    response.headers["ETag"] = _etag(row)
    with one(row):
        return await service.read(session, row)


def _etag(row: BatchScoring) -> str:
    # What a user changes is whether it goes on.
    is_asked = row.status in (service.CANCEL_REQUESTED, service.CANCELED)
    return resource_etag(f"{row.id}/{is_asked}", row.created_at)
