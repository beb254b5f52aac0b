"""Asking for a plan."""

from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.wake import wake
from app.tables.planning import ALL, Planning


async def wake_planner(session: AsyncSession) -> None:
    """Have everything planned anew soon: nodes are free, or somebody waits for them.

    The planner holds its row while it writes clusters and nodes: whoever writes those as well calls
    this first, or the two would wait for each other.

    Args:
        session: the transaction that changes something the planner must see.
    """
    await wake(session, Planning, ALL)
