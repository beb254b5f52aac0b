"""What users do with tokens: their own, and administrators with others'."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import repository
from app.auth.assignments import sees_workspace
from app.auth.needs import PermissionMissing, may
from app.auth.principal import Principal, TokenScope
from app.auth.schemas import TokenCreate
from app.auth.service import create_token
from app.kernel.errors import Forbidden, NotFound, invalid_field
from app.tables.token import Token
from app.tables.user import User
from app.tables.workspace import Workspace

EVERYBODY = "*"


async def create(
    session: AsyncSession, principal: Principal, body: TokenCreate
) -> tuple[Token, str]:
    """Make a token for the caller, or for another user; its row and its secret.

    Raises:
        Forbidden: the caller's own token has a scope, or the other user is not the caller's.
        Invalid: a workspace that it names is not there for the caller.
    """
    if not principal.scope.is_whole:
        raise Forbidden("A token with a scope makes no other tokens; use one without.")
    user_id = await whose(session, principal, body.user, permission="users.write")
    assert user_id is not None
    scope = TokenScope(
        permissions=None if body.permissions is None else frozenset(body.permissions),
        workspaces=await _workspaces(session, principal, body.workspaces),
    )
    return await create_token(
        session,
        name=body.name,
        user_id=user_id,
        expires_in_seconds=body.expires_in_seconds,
        scope=scope,
    )


async def whose(
    session: AsyncSession, principal: Principal, name: str | None, *, permission: str = "users.read"
) -> str | None:
    """The id of the user whose tokens a call is about; None: everybody's.

    Raises:
        PermissionMissing: they are not the caller's, who is no administrator.
        NotFound: there is no such user.
    """
    if name is None or name == principal.name:
        return principal.id
    if not may(principal, permission):
        raise PermissionMissing(permission, "of this installation")
    if name == EVERYBODY and permission == "users.read":
        return None
    found = (await session.execute(select(User.id).where(User.name == name))).scalar_one_or_none()
    if found is None:
        raise NotFound(f"There is no user {name!r}.")
    return found


async def revoke(session: AsyncSession, principal: Principal, token_id: str) -> None:
    """Revoke a token of the caller's, or for an administrator anybody's.

    Raises:
        NotFound: there is none such for the caller.
    """
    row = await repository.get(session, token_id)
    if row.user_id != principal.id and not may(principal, "users.write"):
        raise NotFound(f"There is no token {token_id}.")
    await repository.revoke(session, token_id)


async def _workspaces(
    session: AsyncSession, principal: Principal, names: list[str] | None
) -> frozenset[str] | None:
    if names is None:
        return None
    seen = select(Workspace.name, Workspace.id).where(
        Workspace.name.in_(names), sees_workspace(principal)
    )
    ids: dict[str, str] = {row.name: row.id for row in await session.execute(seen)}
    for index, name in enumerate(names):
        if name not in ids:
            message = f"There is no workspace {name!r}."
            raise invalid_field(f"/workspaces/{index}", "no_such_workspace", message)
    return frozenset(ids.values())
