"""Queries about hosts."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, case, delete, func, select, union
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.pagination import PageQuery, fetch_page
from app.tables.cluster import ClusterNode
from app.tables.host import HostSettings, SeenHost


async def list_names(session: AsyncSession, page: PageQuery) -> tuple[list[str], str]:
    """Names of those that were seen or registered, in order."""
    known = union(select(SeenHost.name), select(HostSettings.name)).subquery()
    return await fetch_page(
        session,
        select(known.c.name),
        keys=[known.c.name],
        page=page,
        key_of=lambda name: [name],
    )


async def seen(session: AsyncSession) -> dict[str, SeenHost]:
    """All that were seen, by name."""
    rows = await session.execute(select(SeenHost).execution_options(populate_existing=True))
    return {row.name: row for row in rows.scalars()}


async def rows(
    session: AsyncSession, names: Sequence[str]
) -> dict[str, tuple[SeenHost | None, HostSettings | None]]:
    """What was seen of these hosts and what administrators want of them; unknown ones: neither."""
    seen = select(SeenHost).where(SeenHost.name.in_(names))
    settings = select(HostSettings).where(HostSettings.name.in_(names))
    fresh = {"populate_existing": True}
    found = {row.name: row for row in await session.scalars(seen, execution_options=fresh)}
    wanted = {row.name: row for row in await session.scalars(settings, execution_options=fresh)}
    return {name: (found.get(name), wanted.get(name)) for name in names}


async def engine_urls(session: AsyncSession) -> dict[str, str]:
    """Addresses of the engines that were registered through the API, by name."""
    statement = select(HostSettings.name, HostSettings.engine_url).where(
        HostSettings.engine_url.is_not(None)
    )
    return {name: url for name, url in await session.execute(statement) if url is not None}


async def node_counts(session: AsyncSession, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Nodes of clusters on these hosts, and those that runs have, where there are any."""
    has_run: ColumnElement[int] = func.count(ClusterNode.run_id)
    statement = (
        select(ClusterNode.host, func.count(), has_run)
        .where(ClusterNode.host.in_(names))
        .group_by(ClusterNode.host)
    )
    return {host: (count, busy) for host, count, busy in await session.execute(statement)}


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
