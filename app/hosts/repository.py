"""Queries about hosts."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, case, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.tables.cluster import ClusterNode
from app.tables.host import SeenHost


async def list_all(session: AsyncSession) -> list[tuple[SeenHost, int, int]]:
    """All that were seen, by name, each with its nodes and those that runs have."""
    has_run: ColumnElement[int] = func.count(ClusterNode.run_id)
    statement = (
        select(SeenHost, func.count(ClusterNode.id), has_run)
        .outerjoin(ClusterNode, ClusterNode.host == SeenHost.name)
        .group_by(SeenHost.name)
        .order_by(SeenHost.name)
    )
    return [(host, count, running) for host, count, running in await session.execute(statement)]


async def states(session: AsyncSession) -> dict[str, str]:
    """The state of each host as it was last written."""
    rows = await session.execute(select(SeenHost.name, SeenHost.state))
    return {name: state for name, state in rows}  # noqa: C416  (a row is no tuple to mypy)


async def write(session: AsyncSession, seen: Sequence[dict[str, Any]]) -> None:
    """Write what is seen now: the time of a state that stays stays, what is gone goes."""
    names = [host["name"] for host in seen]
    await session.execute(delete(SeenHost).where(SeenHost.name.not_in(names)))
    if not seen:
        return
    new = insert(SeenHost).values(list(seen))
    now = func.clock_timestamp()
    changes: dict[str, Any] = {key: new.excluded[key] for key in seen[0] if key != "name"}
    changes["seen_at"] = now
    changes["state_at"] = case((SeenHost.state == new.excluded.state, SeenHost.state_at), else_=now)
    await session.execute(new.on_conflict_do_update(index_elements=["name"], set_=changes))
