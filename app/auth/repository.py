"""Queries about tokens."""

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.kernel.errors import NotFound
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.token import Token


async def find_valid(connection: AsyncConnection, secret_sha256: str) -> tuple[str, str] | None:
    """Id and name of the token with this hash, unless revoked or expired (database time)."""
    statement = select(Token.id, Token.name).where(
        Token.secret_sha256 == secret_sha256,
        Token.revoked_at.is_(None),
        or_(Token.expires_at.is_(None), Token.expires_at > func.clock_timestamp()),
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else (row.id, row.name)


async def has_any(session: AsyncSession) -> bool:
    """Whether a token was ever made."""
    return (await session.execute(select(Token.id).limit(1))).first() is not None


async def list_page(session: AsyncSession, page: PageQuery) -> tuple[list[Token], str]:
    """Tokens, oldest first."""
    return await fetch_page(
        session, select(Token), keys=[Token.id], page=page, key_of=lambda row: [row.id]
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
