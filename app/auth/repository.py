"""Queries about tokens and their users: one for each request."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json
from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.direct import DirectPool, Statement
from app.kernel.errors import NotFound
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.role import Role, RoleAssignment
from app.tables.token import Token
from app.tables.user import GroupMember, User
from app.tables.workspace import Workspace

_USED_TO_THE_SECONDS = 60
_GROUPS_OF_USER = select(GroupMember.group_id).where(GroupMember.user_id == User.id).correlate(User)
_WORKSPACE = bindparam("workspace", type_=Workspace.name.type)


def belongs_to_user() -> ColumnElement[bool]:
    """The condition for role assignments of a row of `User`, or of a group it is in."""
    return or_(RoleAssignment.user_id == User.id, RoleAssignment.group_id.in_(_GROUPS_OF_USER))


def _who(*further: Any) -> Select[Any]:
    """Users with what their roles give in the workspace of the address."""
    is_built_in = Role.workspace_id.is_(None)
    grant = case((is_built_in, func.to_jsonb(Role.name)), else_=Role.permissions)
    grants = (
        select(func.jsonb_agg(grant))
        .select_from(RoleAssignment)
        .join(Role, Role.id == RoleAssignment.role_id)
        .where(RoleAssignment.workspace_id == Workspace.id, belongs_to_user())
        .correlate(User, Workspace)
        .scalar_subquery()
    )
    return (
        select(
            User.id.label("user_id"),
            User.name.label("user_name"),
            User.is_admin,
            Workspace.id.label("workspace_id"),
            grants.label("grants"),
            *further,
        )
        .select_from(User)
        .outerjoin(Workspace, Workspace.name == _WORKSPACE)
        .where(User.disabled_at.is_(None))
    )


_BY_TOKEN = Statement(
    _who(
        Token.id.label("token_id"),
        Token.permissions,
        Token.workspace_ids,
        or_(
            Token.last_used_at.is_(None),
            Token.last_used_at
            < func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, _USED_TO_THE_SECONDS),
        ).label("is_long_unused"),
    )
    .join(Token, Token.user_id == User.id)
    .where(
        Token.secret_sha256 == bindparam("secret_sha256"),
        Token.revoked_at.is_(None),
        or_(Token.expires_at.is_(None), Token.expires_at > func.clock_timestamp()),
    )
)
_BY_SUBJECT = Statement(
    _who().where(and_(User.issuer == bindparam("issuer"), User.subject == bindparam("subject")))
)
_NOTE_USE = Statement(
    update(Token)
    .where(Token.id == bindparam("token_id"))
    .values(last_used_at=func.clock_timestamp(), updated_at=Token.updated_at)
)
_JSON = ("grants", "permissions", "workspace_ids")


async def find_by_token(
    direct: DirectPool, secret_sha256: str, *, workspace: str
) -> Mapping[str, Any] | None:
    """The user of the token with this hash, unless revoked or expired (database time).

    Args:
        direct: connections to the database.
        secret_sha256: of the token.
        workspace: name of the one in the address, in which roles are looked up; empty: none.
    """
    return await _find(direct, _BY_TOKEN, secret_sha256=secret_sha256, workspace=workspace)


async def find_by_subject(
    direct: DirectPool, *, issuer: str, subject: str, workspace: str
) -> Mapping[str, Any] | None:
    """The user whom a provider knows by this name; the rest as in `find_by_token`."""
    return await _find(direct, _BY_SUBJECT, issuer=issuer, subject=subject, workspace=workspace)


async def _find(
    direct: DirectPool, statement: Statement, **values: str
) -> Mapping[str, Any] | None:
    row = await direct.row(statement, **values)
    if row is None:
        return None
    return {
        name: from_json(value) if name in _JSON and value is not None else value
        for name, value in row.items()
    }


async def note_use(direct: DirectPool, token_id: str) -> None:
    """Write down that a token was used now."""
    await direct.rows(_NOTE_USE, token_id=token_id)


async def has_any(session: AsyncSession) -> bool:
    """Whether a token was ever made."""
    return (await session.execute(select(Token.id).limit(1))).first() is not None


async def list_page(
    session: AsyncSession, page: PageQuery, *, user_id: str | None = None
) -> tuple[list[Token], str]:
    """Tokens of a user, or all, oldest first."""
    statement = select(Token)
    if user_id is not None:
        statement = statement.where(Token.user_id == user_id)
    return await fetch_page(
        session, statement, keys=[Token.id], page=page, key_of=lambda row: [row.id]
    )


async def get(session: AsyncSession, token_id: str) -> Token:
    """A token by id.

    Raises:
        NotFound: there is none.
    """
    row = await session.get(Token, token_id)
    if row is None:
        raise NotFound(f"There is no token {token_id}.")
    return row


async def revoke(session: AsyncSession, token_id: str) -> None:
    """Revoke a token; doing it again changes nothing."""
    await session.execute(
        update(Token)
        .where(Token.id == token_id, Token.revoked_at.is_(None))
        .values(revoked_at=func.clock_timestamp())
    )
