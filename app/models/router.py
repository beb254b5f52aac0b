"""Routes of models."""

from fastapi import APIRouter, Request, Response

from app.auth.access import UserAccess, UserOrRunAccess
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.kernel.db import SessionDep
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.names import NamePath
from app.kernel.odd_rows import one
from app.kernel.pagination import Page, PageDep
from app.kernel.row_locks import locked, still_there
from app.kernel.validate_only import VALIDATES
from app.models import repository, service
from app.models.schemas import ModelRead, ModelUpdate
from app.workspaces.access import WorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/models", tags=["models"], route_class=WriteRoute
)


@router.get("")
@needs("models.read", run=True)
async def list_models(
    workspace: WorkspaceDep, session: SessionDep, page: PageDep, _: UserOrRunAccess
) -> Page[ModelRead]:
    """Models by name."""
    rows, following = await repository.list_page(session, workspace.id, page)
    return Page.of(rows, await service.reader_of_models(session, rows), following)


@router.get("/{model}")
@needs("models.read", run=True)
async def get_model(
    workspace: WorkspaceDep,
    model: NamePath,
    session: SessionDep,
    response: Response,
    _: UserOrRunAccess,
) -> ModelRead:
    """One model."""
    row = await repository.get(session, workspace.id, model)
    response.headers["ETag"] = resource_etag(row.id, row.updated_at)
    with one(row):
        return (await service.reader_of_models(session, [row]))(row)


@router.patch("/{model}", dependencies=[VALIDATES])
@needs("models.write")
async def update_model(
    workspace: WorkspaceDep,
    model: NamePath,
    body: ModelUpdate,
    session: SessionDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> ModelRead:
    """Change description and tags (null removes one); what the body leaves out stays."""
    row = await locked(session, await repository.get(session, workspace.id, model))
    check_preconditions(request, resource_etag(row.id, row.updated_at))
    with one(row):
        row = await service.update_model(session, row, body)
        response.headers["ETag"] = resource_etag(row.id, row.updated_at)
        return (await service.reader_of_models(session, [row]))(row)


@router.delete("/{model}", status_code=204)
@needs("models.write")
async def delete_model(
    workspace: WorkspaceDep,
    model: NamePath,
    session: SessionDep,
    request: Request,
    _: UserAccess,
) -> None:
    """Delete a model with all versions; 409 while a deployment serves one; 204 also when absent."""
    row = await repository.find(session, workspace.id, model)
    row = row and await still_there(session, row)
    if row is not None:
        check_preconditions(request, resource_etag(row.id, row.updated_at))
        await service.delete_model(session, row)
