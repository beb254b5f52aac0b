"""Routes of workspaces."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy.exc import IntegrityError

from app.auth.access import UserAccess
from app.auth.assignments import make_owner
from app.auth.idempotency import REPEATABLE
from app.auth.needs import needs
from app.auth.principal import Principal
from app.auth.writes import WriteRoute
from app.kernel.db import SessionDep
from app.kernel.errors import Conflict, Forbidden
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.ids import new_id
from app.kernel.names import WORKSPACE_PATTERN
from app.kernel.odd_rows import one
from app.kernel.pagination import Page, PageDep
from app.kernel.row_locks import locked, still_there
from app.kernel.tags import merged_tags
from app.kernel.urls import absolute_url, base_url
from app.kernel.validate_only import VALIDATES
from app.planning.quotas import forget_owner
from app.tables.workspace import Workspace
from app.workspaces import repository
from app.workspaces.access import WorkspaceDep
from app.workspaces.schemas import (
    ClientConfig,
    WorkspaceCreate,
    WorkspacePatch,
    WorkspaceRead,
    WorkspaceUpdate,
)

router = APIRouter(prefix="/v1/workspaces", tags=["workspaces"], route_class=WriteRoute)
NameInPath = Annotated[str, Path(pattern=WORKSPACE_PATTERN)]


@router.post("", status_code=201, dependencies=[REPEATABLE])
@needs("workspaces.create")
async def create_workspace(
    body: WorkspaceCreate,
    session: SessionDep,
    request: Request,
    response: Response,
    principal: UserAccess,
) -> WorkspaceRead:
    """Create a workspace, whose owner the caller is; 409 if the name is taken."""
    row = Workspace(
        id=new_id("ws"),
        name=body.name,
        description=body.description,
        tags=dict(body.tags),
        log_retention_days=body.log_retention_days,
    )
    _set_quota(row, body, principal)
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise Conflict(f"A workspace {body.name!r} exists already.") from error
    await make_owner(session, workspace_id=row.id, user_id=principal.id)
    await session.refresh(row)
    return _answer(row, request, response)


@router.put("/{workspace}", responses={201: {"model": WorkspaceRead}}, dependencies=[VALIDATES])
@needs("workspace.write", creates=True)
async def put_workspace(
    workspace: NameInPath,
    session: SessionDep,
    request: Request,
    response: Response,
    principal: UserAccess,
    body: WorkspaceUpdate | None = None,
) -> WorkspaceRead:
    """Create a workspace, whose owner the caller is (201), or replace what can change (200)."""
    body = body or WorkspaceUpdate()
    row = await repository.find(session, workspace)
    if row is not None and principal.entered is not None and not principal.entered.exists:
        # What the caller may do in it was asked before somebody else made it.
        raise Conflict(f"Workspace {workspace!r} is being created; repeat the call.")
    row = row and await still_there(session, row)
    check_preconditions(request, resource_etag(row.id, row.updated_at) if row else None)
    if row is None:
        row = Workspace(id=new_id("ws"), name=workspace)
        session.add(row)
        response.status_code = 201
    row.description = body.description
    row.tags = dict(body.tags)
    row.log_retention_days = body.log_retention_days
    _set_quota(row, body, principal)
    try:
        await session.flush()
    except IntegrityError as error:
        raise Conflict(f"Workspace {workspace!r} is being created; repeat the call.") from error
    if response.status_code == 201:
        await make_owner(session, workspace_id=row.id, user_id=principal.id)
    await session.refresh(row)
    return _answer(row, request, response)


@router.get("")
@needs("account.read")
async def list_workspaces(
    session: SessionDep, page: PageDep, principal: UserAccess
) -> Page[WorkspaceRead]:
    """Workspaces that the caller may see, by name."""
    rows, following = await repository.list_page(session, page, seen_by=principal)
    return Page.of(rows, WorkspaceRead.model_validate, following)


@router.get("/{workspace}")
@needs("workspace.read", run=True)
async def get_workspace(row: WorkspaceDep, request: Request, response: Response) -> WorkspaceRead:
    """One workspace."""
    return _answer(row, request, response)


@router.get("/{workspace}/config")
@needs("workspace.read", run=True)
async def get_workspace_config(row: WorkspaceDep, request: Request) -> ClientConfig:
    """The client file ``config.json`` of a workspace."""
    return ClientConfig(
        subscription_id=row.id,
        resource_group="trainwright",
        workspace_name=row.name,
        endpoint=base_url(request),
    )


@router.patch("/{workspace}", dependencies=[VALIDATES])
@needs("workspace.write")
async def update_workspace(
    row: WorkspaceDep,
    body: WorkspacePatch,
    session: SessionDep,
    request: Request,
    response: Response,
    principal: UserAccess,
) -> WorkspaceRead:
    """Change what the body names and leave the rest."""
    row = await locked(session, row)
    check_preconditions(request, resource_etag(row.id, row.updated_at))
    _set_quota(row, body, principal)
    if "description" in body.model_fields_set:
        row.description = body.description or ""
    if "tags" in body.model_fields_set:
        with one(row):
            row.tags = merged_tags(row.tags, body.tags)
    if "log_retention_days" in body.model_fields_set:
        row.log_retention_days = body.log_retention_days
    await session.flush()
    await session.refresh(row)
    return _answer(row, request, response)


@router.delete("/{workspace}", status_code=204)
@needs("workspace.delete")
async def delete_workspace(
    workspace: NameInPath, session: SessionDep, request: Request, _: UserAccess
) -> None:
    """Delete an empty workspace; 204 also when there is none."""
    row = await repository.find(session, workspace)
    # Whoever is putting something into it is through before it is looked at.
    row = row and await still_there(session, row, to_empty=True)
    if row is None:
        return
    check_preconditions(request, resource_etag(row.id, row.updated_at))
    if await repository.holds_anything(session, row.id):
        raise Conflict(
            f"Workspace {workspace!r} is not empty: delete its clusters, deployments, models, "
            "datasets and experiments first."
        )
    await forget_owner(session, "workspace", row.id)
    await session.delete(row)


def _set_quota(
    row: Workspace, body: WorkspaceUpdate | WorkspacePatch, principal: Principal
) -> None:
    """Set what the body names of quotas; who has one may not raise it.

    Raises:
        Forbidden: the caller is no administrator.
    """
    if "max_active_runs" not in body.model_fields_set:
        return
    if body.max_active_runs != row.max_active_runs and not principal.is_admin:
        raise Forbidden("Only administrators may change max_active_runs of a workspace.")
    row.max_active_runs = body.max_active_runs


def _answer(row: Workspace, request: Request, response: Response) -> WorkspaceRead:
    response.headers["ETag"] = resource_etag(row.id, row.updated_at)
    if response.status_code == 201 or request.method == "POST":
        response.headers["Location"] = absolute_url(request, f"/v1/workspaces/{row.name}")
    with one(row):
        return WorkspaceRead.model_validate(row)
