"""Routes of groups: for administrators."""

from fastapi import APIRouter, Request, Response

from app.auth.idempotency import REPEATABLE
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.identity import groups, users
from app.identity.schemas import (
    GroupCreate,
    GroupMemberRead,
    GroupPath,
    GroupRead,
    GroupUpdate,
    UserPath,
)
from app.kernel.db import SessionDep
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.pagination import Page, PageDep
from app.kernel.row_locks import locked, still_there
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES
from app.tables.user import Group

router = APIRouter(prefix="/v1/groups", tags=["groups"], route_class=WriteRoute)


@router.get("")
@needs("users.read")
async def list_groups(session: SessionDep, page: PageDep) -> Page[GroupRead]:
    """Groups by name."""
    rows, following = await groups.list_page(session, page)
    return Page(items=[GroupRead.model_validate(row) for row in rows], next_page_token=following)


@router.post("", status_code=201, dependencies=[REPEATABLE])
@needs("users.write")
async def create_group(
    body: GroupCreate, session: SessionDep, request: Request, response: Response
) -> GroupRead:
    """Make a group; 409 if the name is taken."""
    row = await groups.create(session, body)
    response.headers["Location"] = absolute_url(request, f"/v1/groups/{row.name}")
    return _answer(row, response)


@router.get("/{group}")
@needs("users.read")
async def get_group(group: GroupPath, session: SessionDep, response: Response) -> GroupRead:
    """One group."""
    return _answer(await groups.get(session, group), response)


@router.patch("/{group}", dependencies=[VALIDATES])
@needs("users.write")
async def update_group(
    group: GroupPath, body: GroupUpdate, session: SessionDep, request: Request, response: Response
) -> GroupRead:
    """Change what the body names."""
    row = await locked(session, await groups.get(session, group))
    check_preconditions(request, resource_etag(row.id, row.updated_at))
    if "description" in body.model_fields_set:
        row.description = body.description
    await session.flush()
    await session.refresh(row)
    return _answer(row, response)


@router.delete("/{group}", status_code=204)
@needs("users.write")
async def delete_group(group: GroupPath, session: SessionDep, request: Request) -> None:
    """Delete a group with its roles, not its members; 204 also when there is none."""
    row = await groups.find(session, group)
    row = row and await still_there(session, row)
    if row is None:
        return
    check_preconditions(request, resource_etag(row.id, row.updated_at))
    await session.delete(row)


@router.get("/{group}/members")
@needs("users.read")
async def list_group_members(
    group: GroupPath, session: SessionDep, page: PageDep
) -> Page[GroupMemberRead]:
    """Who is in a group, by name."""
    row = await groups.get(session, group)
    members, following = await groups.members_page(session, row, page)
    return Page(items=members, next_page_token=following)


@router.put("/{group}/members/{user}", status_code=204)
@needs("users.write")
async def add_group_member(group: GroupPath, user: UserPath, session: SessionDep) -> None:
    """Put a user or service account into a group; doing it again changes nothing."""
    row = await groups.get(session, group)
    await groups.add_member(session, row, await users.get(session, user))


@router.delete("/{group}/members/{user}", status_code=204)
@needs("users.write")
async def remove_group_member(group: GroupPath, user: UserPath, session: SessionDep) -> None:
    """Take somebody out of a group; 204 also when they are not in it."""
    row = await groups.get(session, group)
    await groups.remove_member(session, row, await users.get(session, user))


def _answer(row: Group, response: Response) -> GroupRead:
    response.headers["ETag"] = resource_etag(row.id, row.updated_at)
    return GroupRead.model_validate(row)
