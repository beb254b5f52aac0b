"""The time of day: of this machine, and of the database, which all machines share."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession


def _no_distance(given: Any) -> Any:
    # Pydantic takes a number for seconds since 1970; a negative one is meant as a time before now.
    if isinstance(given, str) and given.lstrip().startswith("-"):
        raise ValueError(
            "a moment with a time zone is wanted, such as 2026-01-01T00:00:00Z, and no time before "
            "now"
        )
    return given


Moment = Annotated[AwareDatetime, BeforeValidator(_no_distance)]
"""A moment as clients name it in a query."""


def utc_now() -> datetime:
    """The current time by this machine's clock, aware, in UTC: to be shown, never to decide by."""
    return datetime.now(UTC)


async def database_now(session: AsyncSession) -> datetime:
    """The current time by the database's clock: what moments of several machines compare with."""
    found: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    return found
