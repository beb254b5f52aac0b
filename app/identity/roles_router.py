"""Routes of a workspace's roles and their assignments."""

from fastapi import APIRouter, Request, Response
from sqlalchemy.exc import IntegrityError

from app.auth.access import UserAccess
from app.auth.idempotency import REPEATABLE
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.identity import roles
from app.identity.schemas import (
    RoleAssignmentCreate,
    RoleAssignmentRead,
    RolePath,
    RolePut,
    RoleRead,
)
from app.kernel.db import SessionDep
from app.kernel.errors import Conflict
from app.kernel.etags import NEEDS_READING, check_is_read, check_preconditions, resource_etag
from app.kernel.odd_rows import one
from app.kernel.pagination import Page, PageDep
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES
from app.tables.role import Role
from app.workspaces.access import WorkspaceDep

router = APIRouter(prefix="/v1/workspaces/{workspace}", tags=["roles"], route_class=WriteRoute)


@router.get("/roles")
@needs("roles.read")
async def list_roles(workspace: WorkspaceDep, session: SessionDep, page: PageDep) -> Page[RoleRead]:
    """Built-in and custom roles by name, with what they permit."""
    rows, following = await roles.list_page(session, workspace.id, page)
    return Page.of(rows, roles.read, following)


@router.get("/roles/{role}")
@needs("roles.read")
async def get_role(
    workspace: WorkspaceDep, role: RolePath, session: SessionDep, response: Response
) -> RoleRead:
    """One role."""
    return _answer(await roles.get(session, workspace.id, role), response)


@router.put(
    "/roles/{role}",
    responses={201: {"model": RoleRead}, **NEEDS_READING},
    dependencies=[VALIDATES],
)
@needs("roles.write")
async def put_role(
    workspace: WorkspaceDep,
    role: RolePath,
    body: RolePut,
    session: SessionDep,
    principal: UserAccess,
    request: Request,
    response: Response,
) -> RoleRead:
    """Create a custom role (201) or replace it (200); who has it gets the change at once."""
    found = await roles.find(session, workspace.id, role, lock=True)
    before = _etag(found) if found else None
    check_preconditions(request, before)
    try:
        row, is_new = await roles.put(session, principal, workspace.id, role, body)
    except IntegrityError as error:
        raise Conflict(f"Role {role!r} is being created; repeat the call.") from error
    check_is_read(request, before, _etag(row))
    if is_new:
        response.status_code = 201
        response.headers["Location"] = absolute_url(request, request.url.path)
    return _answer(row, response)


@router.delete("/roles/{role}", status_code=204)
@needs("roles.write")
async def delete_role(
    workspace: WorkspaceDep, role: RolePath, session: SessionDep, request: Request
) -> None:
    """Delete a custom role; 409 while somebody has it; 204 also when there is none."""
    row = await roles.find(session, workspace.id, role, lock=True)
    if row is not None:
        check_preconditions(request, _etag(row))
        await roles.delete(session, row)


@router.get("/role-assignments")
@needs("roles.read")
async def list_role_assignments(
    workspace: WorkspaceDep, session: SessionDep, page: PageDep
) -> Page[RoleAssignmentRead]:
    """Who has which role, oldest first."""
    items, following = await roles.assignments_page(session, workspace.id, page)
    return Page(items=items, next_page_token=following)


@router.post(
    "/role-assignments",
    status_code=201,
    responses={200: {"model": RoleAssignmentRead}},
    dependencies=[REPEATABLE],
)
@needs("roles.write")
async def create_role_assignment(
    workspace: WorkspaceDep,
    body: RoleAssignmentCreate,
    session: SessionDep,
    principal: UserAccess,
    request: Request,
    response: Response,
) -> RoleAssignmentRead:
    """Give a role to a user, a service account or a group (201); 200 when they have it."""
    answer, is_new = await roles.assign(session, principal, workspace.id, body)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = absolute_url(request, f"{request.url.path}/{answer.id}")
    return answer


@router.get("/role-assignments/{assignment_id}")
@needs("roles.read")
async def get_role_assignment(
    workspace: WorkspaceDep, assignment_id: str, session: SessionDep, response: Response
) -> RoleAssignmentRead:
    """One assignment."""
    found = await roles.get_assignment(session, workspace.id, assignment_id)
    response.headers["ETag"] = resource_etag(found.id, found.created_at)
    return found


@router.delete("/role-assignments/{assignment_id}", status_code=204)
@needs("roles.write")
async def delete_role_assignment(
    workspace: WorkspaceDep,
    assignment_id: str,
    session: SessionDep,
    principal: UserAccess,
    request: Request,
) -> None:
    """Take a role away, at once; 204 also when there is no such assignment."""
    found = await roles.find_assignment(session, workspace.id, assignment_id)
    if found is None:
        return
    check_preconditions(request, resource_etag(found.id, found.created_at))
    await roles.take_away(session, principal, workspace.id, assignment_id)


def _answer(row: Role, response: Response) -> RoleRead:
    response.headers["ETag"] = _etag(row)
    with one(row):
        return roles.read(row)


def _etag(row: Role) -> str:
    return resource_etag(row.id, row.updated_at)
