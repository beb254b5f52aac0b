"""Roles of a workspace, and who has them."""

from typing import Any, cast

from sqlalchemy import RowMapping, Select, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.assignments import OWNER_ROLE_ID
from app.auth.permissions import BUILT_IN_ROLES
from app.auth.principal import Principal
from app.identity import groups, users
from app.identity.errors import (
    BeyondOwnPermissions,
    LastOwner,
    RoleAssignmentNotFound,
    RoleBuiltIn,
    RoleInUse,
    RoleNotFound,
)
from app.identity.schemas import RoleAssignmentCreate, RoleAssignmentRead, RolePut, RoleRead
from app.kernel.ids import new_id
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.role import Role, RoleAssignment
from app.tables.user import Group, User
from app.tables.workspace import Workspace


def permissions_of(role: Role) -> frozenset[str]:
    """What a role gives."""
    return frozenset(role.permissions) if role.workspace_id else BUILT_IN_ROLES[role.name]


def read(role: Role) -> RoleRead:
    """A role as it is shown."""
    return RoleRead(
        name=role.name,
        built_in=role.workspace_id is None,
        description=role.description,
        permissions=sorted(permissions_of(role)),
    )


async def list_page(
    session: AsyncSession, workspace_id: str, page: PageQuery
) -> tuple[list[Role], str]:
    """Roles by name, the built-in ones among them."""
    return await fetch_page(
        session,
        select(Role).where(_of_workspace(workspace_id)),
        keys=[Role.name],
        page=page,
        key_of=lambda row: [row.name],
    )


async def find(
    session: AsyncSession, workspace_id: str, name: str, *, lock: bool = False
) -> Role | None:
    """The role of this name, if there is one; locked until the transaction ends, if wished."""
    statement = select(Role).where(_of_workspace(workspace_id), Role.name == name)
    if lock:
        statement = statement.with_for_update(key_share=True)
    return (await session.execute(statement)).scalar_one_or_none()


async def get(session: AsyncSession, workspace_id: str, name: str) -> Role:
    """The role of this name.

    Raises:
        RoleNotFound: there is none.
    """
    row = await find(session, workspace_id, name)
    if row is None:
        raise RoleNotFound(name)
    return row


async def put(
    session: AsyncSession, principal: Principal, workspace_id: str, name: str, body: RolePut
) -> tuple[Role, bool]:
    """Make or replace a custom role; the role and whether it is new.

    Raises:
        RoleBuiltIn: the name is a built-in one's.
        BeyondOwnPermissions: it would give, or gave, what the caller does not have.
    """
    row = await find(session, workspace_id, name)
    if row is not None and row.workspace_id is None:
        raise RoleBuiltIn(name)
    _check_own(principal, set(body.permissions) | set(row.permissions if row else ()))
    is_new = row is None
    if row is None:
        row = Role(id=new_id("role"), workspace_id=workspace_id, name=name)
        session.add(row)
    row.description = body.description
    row.permissions = sorted(set(body.permissions))
    await session.flush()
    await session.refresh(row)
    return row, is_new


async def delete(session: AsyncSession, row: Role) -> None:
    """Delete a custom role that nobody has.

    Raises:
        RoleBuiltIn: it is not a custom one.
        RoleInUse: somebody has it.
    """
    name = row.name
    if row.workspace_id is None:
        raise RoleBuiltIn(name)
    await session.delete(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise RoleInUse(name) from error


async def assignments_page(
    session: AsyncSession, workspace_id: str, page: PageQuery
) -> tuple[list[RoleAssignmentRead], str]:
    """Who has which role, oldest first."""
    rows: list[Any]
    rows, following = await fetch_page(
        session,
        _assignments(workspace_id),
        keys=[RoleAssignment.id],
        page=page,
        key_of=lambda row: [row.id],
        scalars=False,
    )
    return [_shown(row._mapping) for row in rows], following


async def find_assignment(
    session: AsyncSession, workspace_id: str, assignment_id: str
) -> RoleAssignmentRead | None:
    """The assignment of this id, if the workspace has it."""
    statement = _assignments(workspace_id).where(RoleAssignment.id == assignment_id)
    row = (await session.execute(statement)).mappings().one_or_none()
    return None if row is None else _shown(row)


async def get_assignment(
    session: AsyncSession, workspace_id: str, assignment_id: str
) -> RoleAssignmentRead:
    """One assignment.

    Raises:
        RoleAssignmentNotFound: the workspace has none such.
    """
    found = await find_assignment(session, workspace_id, assignment_id)
    if found is None:
        raise RoleAssignmentNotFound(assignment_id)
    return found


async def assign(
    session: AsyncSession, principal: Principal, workspace_id: str, body: RoleAssignmentCreate
) -> tuple[RoleAssignmentRead, bool]:
    """Give somebody a role; the assignment and whether it is new.

    Raises:
        RoleNotFound, UserNotFound, GroupNotFound: one of the names is nobody's.
        BeyondOwnPermissions: the role gives what the caller does not have.
    """
    role = await get(session, workspace_id, body.role)
    _check_own(principal, set(permissions_of(role)))
    user = None if body.user is None else await users.get(session, body.user)
    group = None if body.group is None else await groups.get(session, body.group)
    values = {
        "workspace_id": workspace_id,
        "role_id": role.id,
        "user_id": user.id if user else None,
        "group_id": group.id if group else None,
    }
    made = await session.execute(
        insert(RoleAssignment)
        .values(id=new_id("ra"), **values)
        .on_conflict_do_nothing()
        .returning(RoleAssignment.id)
    )
    new = made.scalar_one_or_none()
    same = [getattr(RoleAssignment, column) == value for column, value in values.items()]
    found = new or (await session.execute(select(RoleAssignment.id).where(*same))).scalar_one()
    return await get_assignment(session, workspace_id, found), new is not None


async def take_away(
    session: AsyncSession, principal: Principal, workspace_id: str, assignment_id: str
) -> None:
    """Delete an assignment; nothing happens when there is none.

    Raises:
        BeyondOwnPermissions: the role gives what the caller does not have.
        LastOwner: nobody would own the workspace.
    """
    row = await session.get(RoleAssignment, assignment_id)
    if row is None or row.workspace_id != workspace_id:
        return
    role = await session.get_one(Role, row.role_id)
    _check_own(principal, set(permissions_of(role)))
    if row.role_id == OWNER_ROLE_ID:
        # Two owners who remove each other at once: the second waits here, and finds itself last.
        await session.execute(
            select(Workspace.id).where(Workspace.id == workspace_id).with_for_update(key_share=True)
        )
        count = await session.execute(
            select(func.count()).where(
                RoleAssignment.workspace_id == workspace_id,
                RoleAssignment.role_id == OWNER_ROLE_ID,
            )
        )
        if count.scalar_one() < 2:
            raise LastOwner
    await session.delete(row)


def _check_own(principal: Principal, wanted: set[str]) -> None:
    own = principal.entered.permissions if principal.entered else frozenset()
    if missing := wanted - own:
        raise BeyondOwnPermissions(missing)


def _of_workspace(workspace_id: str) -> Any:
    return or_(Role.workspace_id.is_(None), Role.workspace_id == workspace_id)


def _assignments(workspace_id: str) -> Select[Any]:
    found = (
        select(
            RoleAssignment.id,
            Role.name.label("role"),
            User.name.label("user"),
            Group.name.label("group"),
            RoleAssignment.created_at,
        )
        .join(Role, Role.id == RoleAssignment.role_id)
        .outerjoin(User, User.id == RoleAssignment.user_id)
        .outerjoin(Group, Group.id == RoleAssignment.group_id)
        .where(RoleAssignment.workspace_id == workspace_id)
    )
    return cast("Select[Any]", found)


def _shown(row: RowMapping) -> RoleAssignmentRead:
    return RoleAssignmentRead.model_validate(dict(row))
