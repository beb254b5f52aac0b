"""The hard stop: what has spent a budget, or its own limit, is ended."""

from math import inf

from sqlalchemy.ext.asyncio import AsyncSession

from app.costs import accounts
from app.runs import interruptions
from workers.apart import apart

_SHORTEST_PAUSE_SECONDS = 0.5


async def stop_what_is_spent(session: AsyncSession) -> bool:
    """Have runs end that may not cost more; those that change just now, the next time.

    Args:
        session: a transaction that holds the planner's row.

    Returns:
        Whether the rows of all of them allowed it.
    """
    found = await accounts.load(session)
    failed: dict[str, str] = {}
    for run_id, code in sorted(found.to_stop().items()):
        async with apart(session, run_id, failed):
            await interruptions.stop_spending(session, run_id=run_id, code=code)
    return not failed


async def pause_until_spent(session: AsyncSession) -> float | None:
    """Seconds until a run may have to be stopped; None: none will have to be."""
    seconds = (await accounts.load(session)).next_stop_seconds()
    return None if seconds == inf else max(_SHORTEST_PAUSE_SECONDS, seconds)
