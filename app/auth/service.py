"""Tokens: making, checking, revoking."""

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import repository
from app.auth.principal import Principal
from app.auth.signing import Signer
from app.kernel.clock import utc_now
from app.kernel.db import Database
from app.kernel.errors import Unauthorized
from app.kernel.ids import new_id
from app.tables.token import Token

TOKEN_PREFIX = "twt_"  # noqa: S105  (a prefix, not a secret)
DEPLOYMENT_KEY_PREFIX = "twk_"
FIRST_TOKEN_NAME = "first"  # noqa: S105
_FIRST_TOKEN_LOCK = 0x7458


def hash_secret(secret: str) -> str:
    """What is stored of a secret: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


async def create_token(
    session: AsyncSession, *, name: str, expires_in_seconds: int | None = None
) -> tuple[Token, str]:
    """Make a token.

    Args:
        session: the transaction.
        name: what it is for.
        expires_in_seconds: its life; None: until revoked.

    Returns:
        The row and the secret, which is not kept anywhere.
    """
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    expires_at = None
    if expires_in_seconds is not None:
        expires_at = utc_now() + timedelta(seconds=expires_in_seconds)
    row = Token(
        id=new_id("tok"), name=name, secret_sha256=hash_secret(secret), expires_at=expires_at
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


async def authenticate(database: Database, signer: Signer, credential: str) -> Principal:
    """Find out who holds a credential.

    Args:
        database: where API tokens are.
        signer: checks the tokens of runs and nodes.
        credential: what came after ``Bearer``.

    Raises:
        Unauthorized: unknown, revoked or expired.
    """
    if credential.startswith(DEPLOYMENT_KEY_PREFIX):
        return Principal(kind="deployment", id=credential, name="deployment key")
    if not credential.startswith(TOKEN_PREFIX):
        return signer.verify(credential)
    async with database.single() as connection:
        found = await repository.find_valid(connection, hash_secret(credential))
    if found is None:
        raise Unauthorized("This token is not valid: unknown, revoked or expired.")
    return Principal(kind="user", id=found[0], name=found[1])
