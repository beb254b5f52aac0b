"""Tokens: making, checking, revoking."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import repository
from app.auth.permissions import BUILT_IN_ROLES, WORKSPACE_PERMISSIONS
from app.auth.principal import WHOLE, Entered, Principal, TokenScope
from app.auth.signing import Signer
from app.kernel.clock import database_now
from app.kernel.db import Database
from app.kernel.errors import Unauthorized
from app.kernel.ids import new_id
from app.tables.token import Token

TOKEN_PREFIX = "twt_"  # noqa: S105  (a prefix, not a secret)
DEPLOYMENT_KEY_PREFIX = "twk_"
FIRST_TOKEN_NAME = "first"  # noqa: S105
ADMIN_ID = "usr_admin"
"""The administrator that every installation has: what the command line makes tokens for."""
_FIRST_TOKEN_LOCK = 0x7457_70CE
_SHOWN_CHARACTERS = 10


def hash_secret(secret: str) -> str:
    """What is stored of a secret: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


async def create_token(
    session: AsyncSession,
    *,
    name: str,
    user_id: str = ADMIN_ID,
    expires_in_seconds: int | None = None,
    scope: TokenScope = WHOLE,
) -> tuple[Token, str]:
    """Make a token.

    Args:
        session: the transaction.
        name: what it is for.
        user_id: whose it is; by default the administrator's that every installation has.
        expires_in_seconds: its life; None: until revoked.
        scope: what it is good for, of all that the user may do.

    Returns:
        The row and the secret, which is not kept anywhere.
    """
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    expires_at = None
    if expires_in_seconds is not None:
        expires_at = await database_now(session) + timedelta(seconds=expires_in_seconds)
    row = Token(
        id=new_id("tok"),
        user_id=user_id,
        name=name,
        prefix=secret[:_SHOWN_CHARACTERS],
        secret_sha256=hash_secret(secret),
        permissions=None if scope.permissions is None else sorted(scope.permissions),
        workspace_ids=None if scope.workspaces is None else sorted(scope.workspaces),
        expires_at=expires_at,
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row, secret


async def create_first_token(session: AsyncSession) -> str | None:
    """Make the first token of an installation; None when there has been one before."""
    await session.execute(text(f"SELECT pg_advisory_xact_lock({_FIRST_TOKEN_LOCK})"))
    if await repository.has_any(session):
        return None
    _, secret = await create_token(session, name=FIRST_TOKEN_NAME)
    return secret


async def authenticate(
    database: Database, signer: Signer, credential: str, *, workspace: str = ""
) -> Principal:
    """Find out who holds a credential, and what a user may do in a workspace: one query.

    Args:
        database: where API tokens are.
        signer: checks the tokens of runs and nodes.
        credential: what came after ``Bearer``.
        workspace: name of the one in the address; empty: there is none.

    Raises:
        Unauthorized: unknown, revoked or expired.
    """
    if credential.startswith(DEPLOYMENT_KEY_PREFIX):
        return Principal(kind="deployment", id=credential, name="deployment key")
    if not credential.startswith(TOKEN_PREFIX):
        return signer.verify(credential)
    direct = database.direct
    found = await repository.find_by_token(direct, hash_secret(credential), workspace=workspace)
    if found is not None and found["is_long_unused"]:
        await repository.note_use(direct, found["token_id"])
    if found is None:
        raise Unauthorized("This token is not valid: unknown, revoked or expired.")
    scope = TokenScope(_set(found["permissions"]), _set(found["workspace_ids"]))
    return user_principal(found, scope=scope, token_id=found["token_id"], workspace=workspace)


def user_principal(
    found: Mapping[str, Any], *, workspace: str, scope: TokenScope = WHOLE, token_id: str = ""
) -> Principal:
    """A user as the caller, from a row of the repository.

    Args:
        found: the user, and the roles in the workspace of the address.
        workspace: the name that the address has.
        scope: of the token.
        token_id: of the token, if it is one of ours.
    """
    entered = None
    if workspace:
        entered = Entered(
            name=workspace,
            id=found["workspace_id"] or "",
            permissions=_permissions(found, scope),
        )
    return Principal(
        kind="user",
        id=found["user_id"],
        name=found["user_name"],
        token_id=token_id,
        is_admin=found["is_admin"],
        scope=scope,
        entered=entered,
    )


def _permissions(found: Mapping[str, Any], scope: TokenScope) -> frozenset[str]:
    if scope.workspaces is not None and found["workspace_id"] not in scope.workspaces:
        return frozenset()
    given: set[str] = set()
    if found["is_admin"]:
        given |= WORKSPACE_PERMISSIONS
    for grant in found["grants"] or []:
        given |= BUILT_IN_ROLES[grant] if isinstance(grant, str) else set(grant)
    # What a custom role names and a later version does not know gives nothing.
    given &= WORKSPACE_PERMISSIONS
    return frozenset(given if scope.permissions is None else given & scope.permissions)


def _set(values: list[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)
