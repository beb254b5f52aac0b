"""Who has which role in which workspace."""

from sqlalchemy import ColumnElement, and_, false, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.permissions import BUILT_IN_ROLES
from app.auth.principal import Principal
from app.kernel.ids import new_id
from app.tables.role import Role, RoleAssignment
from app.tables.user import GroupMember
from app.tables.workspace import Workspace

_SEES = "workspace.read"
OWNER_ROLE_ID = "role_owner"


async def make_owner(session: AsyncSession, *, workspace_id: str, user_id: str) -> None:
    """Make a user an owner of a workspace that has just been created."""
    session.add(
        RoleAssignment(
            id=new_id("ra"), workspace_id=workspace_id, role_id=OWNER_ROLE_ID, user_id=user_id
        )
    )
    await session.flush()


def sees_workspace(principal: Principal) -> ColumnElement[bool]:
    """The condition for rows of `Workspace` that a user may see in a list."""
    scope = principal.scope
    if scope.permissions is not None and _SEES not in scope.permissions:
        return false()
    within = true() if scope.workspaces is None else Workspace.id.in_(scope.workspaces)
    if principal.is_admin:
        return within
    groups = select(GroupMember.group_id).where(GroupMember.user_id == principal.id)
    built_in = [name for name, given in BUILT_IN_ROLES.items() if _SEES in given]
    seen = (
        select(RoleAssignment.workspace_id)
        .join(Role, Role.id == RoleAssignment.role_id)
        .where(
            or_(RoleAssignment.user_id == principal.id, RoleAssignment.group_id.in_(groups)),
            or_(
                and_(Role.workspace_id.is_(None), Role.name.in_(built_in)),
                Role.permissions.contains([_SEES]),
            ),
        )
    )
    return and_(within, Workspace.id.in_(seen))
