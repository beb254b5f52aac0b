"""Queries about what the provider holds without an owner."""

from datetime import timedelta

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.pagination import PageQuery, fetch_page
from app.runs.attempts import network_name
from app.tables.deployment import Replica
from app.tables.input_volume import InputVolume
from app.tables.leak import Leak
from app.tables.model import ModelCapture
from app.tables.run import RunNode

Thing = tuple[str, str]
"""A kind and a name."""


async def list_page(session: AsyncSession, page: PageQuery) -> tuple[list[Leak], str]:
    """What is known, by kind, provider and name."""
    return await fetch_page(
        session,
        select(Leak),
        keys=[Leak.kind, Leak.provider, Leak.name],
        page=page,
        key_of=lambda row: [row.kind, row.provider, row.name],
    )


async def owned(session: AsyncSession) -> set[Thing]:
    """What may be there: nodes that were not removed, their networks, and kept inputs."""
    nodes = await session.execute(
        select(RunNode.name, RunNode.run_id, RunNode.attempt).where(RunNode.removed.is_(False))
    )
    found: set[Thing] = set()
    for name, run_id, attempt in nodes:
        found |= {("node", name), ("network", network_name(run_id, attempt))}
    found |= {("volume", name) for name in await session.scalars(select(InputVolume.id))}
    replicas = await session.scalars(select(Replica.name).where(Replica.removed.is_(False)))
    captures = await session.scalars(
        select(ModelCapture.node_name).where(ModelCapture.node_name.is_not(None))
    )
    return found | {("node", name) for name in [*replicas, *captures] if name is not None}


async def note(session: AsyncSession, provider: str, things: set[Thing]) -> list[Thing]:
    """Write down what is seen now; what was seen before keeps its time, what is gone goes.

    Returns:
        What was not seen before.
    """
    keys = sorted(things)
    gone = delete(Leak)
    if keys:
        gone = gone.where(tuple_(Leak.kind, Leak.name).not_in(keys))
    await session.execute(gone)
    if not keys:
        return []
    rows = [{"kind": kind, "name": name, "provider": provider} for kind, name in keys]
    added = insert(Leak).values(rows).on_conflict_do_nothing().returning(Leak.kind, Leak.name)
    return [(kind, name) for kind, name in await session.execute(added)]


async def ripe(session: AsyncSession, *, grace_seconds: float) -> list[Thing]:
    """What was seen without an owner for longer than the grace period."""
    since = func.clock_timestamp() - timedelta(seconds=grace_seconds)
    rows = await session.execute(select(Leak.kind, Leak.name).where(Leak.first_seen_at <= since))
    return [(kind, name) for kind, name in rows]
