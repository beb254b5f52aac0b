"""Keeping collections away while somebody copies what may lose its last reference meanwhile.

The locks are those of a transaction: they end with whoever holds them, however that dies.
"""

from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

# Any number will do as long as all versions use the same.
LOCK = 0x7458
_LASTING = text("SET LOCAL idle_in_transaction_session_timeout = 0")


async def may_collect(session: AsyncSession) -> bool:
    """Say whether a collection may go on until the end of this transaction; several may.

    The transaction is not ended for being idle: it is the lock, and what goes on has its own.
    """
    await session.execute(_LASTING)
    taken = await session.scalar(select(func.pg_try_advisory_xact_lock_shared(LOCK)))
    return bool(taken)


async def keep_everything(connection: AsyncConnection) -> None:
    """Wait for collections that are under way; none begins before the end of this transaction.

    The transaction is not ended for being idle, but its connection can be lost: `is_kept` says so.
    """
    await connection.execute(_LASTING)
    await connection.execute(select(func.pg_advisory_xact_lock(LOCK)))


async def is_kept(connection: AsyncConnection) -> bool:
    """Whether nothing has been collected since `keep_everything`."""
    try:
        await connection.execute(select(1))
    except DBAPIError:
        return False
    return True
