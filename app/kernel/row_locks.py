"""Rows that are held while what was read of them is still to be true."""

from typing import TypeVar

from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.errors import NotFound
from app.kernel.orm import Base

T = TypeVar("T", bound=Base)


async def locked(session: AsyncSession, row: T) -> T:
    """A row as it is now; nobody else changes it before the transaction ends.

    Args:
        session: the transaction.
        row: as it was read in it.

    Raises:
        NotFound: it was deleted meanwhile.
    """
    found = await still_there(session, row)
    if found is None:
        raise NotFound("It was deleted meanwhile.")
    return found


async def still_there(session: AsyncSession, row: T, *, to_empty: bool = False) -> T | None:
    """The same, or None when it was deleted meanwhile.

    Args:
        session: the transaction.
        row: as it was read in it.
        to_empty: nobody writes a row that refers to it either.
    """
    return await session.get(
        type(row),
        inspect(row).identity,
        populate_existing=True,
        with_for_update={"key_share": not to_empty},
    )
