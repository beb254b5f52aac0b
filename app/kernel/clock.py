"""The time of day: of this machine, and of the database, which all machines share."""

from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession


def utc_now() -> datetime:
    """The current time by this machine's clock, aware, in UTC: to be shown, never to decide by."""
    return datetime.now(UTC)


async def database_now(session: AsyncSession) -> datetime:
    """The current time by the database's clock: what moments of several machines compare with."""
    found: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    return found
