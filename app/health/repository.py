"""Figures about the whole installation, as its rows have them."""

from collections.abc import Sequence
from typing import NamedTuple, cast

from sqlalchemy import Select, Table, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel import leases
from app.kernel.orm import Base, Reconciled
from app.runs.states import Status
from app.tables.blob import Blob
from app.tables.cluster import Cluster
from app.tables.deployment import Replica
from app.tables.image import Image
from app.tables.leak import Leak
from app.tables.run import Run, RunNode
from app.tables.workspace import Workspace

MOST_QUEUES = 50
"""So many clusters have a queue's age of their own; there may be any number of clusters."""


class QueueAge(NamedTuple):
    """Since when the run that has waited longest waits for nodes of a cluster."""

    workspace: str
    cluster: str
    seconds: float


async def runs_by_status(session: AsyncSession) -> Sequence[tuple[str, int]]:
    """How many runs are in which state."""
    return await _counts(session, select(Run.status, func.count()).group_by(Run.status))


async def images_by_state(session: AsyncSession) -> Sequence[tuple[str, int]]:
    """How many environments are in which state."""
    return await _counts(session, select(Image.state, func.count()).group_by(Image.state))


async def leaks_by_kind(session: AsyncSession) -> Sequence[tuple[str, int]]:
    """How much was last seen at the provider without an owner."""
    return await _counts(session, select(Leak.kind, func.count()).group_by(Leak.kind))


async def queue_ages(session: AsyncSession) -> Sequence[QueueAge]:
    """The queues of clusters, the one with the oldest run first; all beyond the first as one."""
    since = func.coalesce(Run.queued_at, Run.created_at)
    age = func.extract("epoch", func.clock_timestamp() - func.min(since))
    statement = (
        select(Workspace.name, Cluster.name, age)
        .join(Cluster, Cluster.id == Run.cluster_id)
        .join(Workspace, Workspace.id == Run.workspace_id)
        .where(Run.kind == "job", Run.status == Status.QUEUED)
        .group_by(Workspace.name, Cluster.name)
        .order_by(age.desc())
    )
    found = [
        QueueAge(workspace, cluster, max(0.0, float(seconds)))
        for workspace, cluster, seconds in await session.execute(statement)
    ]
    if len(found) > MOST_QUEUES:
        oldest = found[MOST_QUEUES].seconds
        found = [*found[:MOST_QUEUES], QueueAge("", "", oldest)]
    return found


async def heartbeat_ages_seconds(session: AsyncSession) -> Sequence[tuple[str, float]]:
    """By kind of node: how long ago the one that is silent longest was last heard of."""
    of_runs = select(func.min(RunNode.heartbeat_at)).where(
        RunNode.state.in_(("Ready", "Running", "Exited")), RunNode.removed.is_(False)
    )
    of_replicas = select(func.min(Replica.heartbeat_at)).where(
        Replica.state.in_(("Launched", "Serving", "Draining")), Replica.removed.is_(False)
    )
    found = []
    for kind, oldest in (("replica", of_replicas), ("run", of_runs)):
        age = func.extract("epoch", func.clock_timestamp() - oldest.scalar_subquery())
        seconds = (await session.execute(select(age))).scalar_one()
        if seconds is not None:
            found.append((kind, float(seconds)))
    return found


async def object_bytes(session: AsyncSession) -> int:
    """How many bytes workspaces have in the object store, each object counted once."""
    sizes = select(func.max(Blob.size_bytes).label("size")).group_by(Blob.sha256).subquery()
    total = select(func.coalesce(func.sum(sizes.c.size), 0))
    return int((await session.execute(total)).scalar_one())


async def reconcile_lag_seconds(session: AsyncSession) -> Sequence[tuple[str, float]]:
    """By table: for how long the longest overdue row has been due without a worker at it."""
    lags = []
    for table in _reconciled():
        age = func.extract("epoch", func.clock_timestamp() - func.min(table.c.next_check_at))
        # A lease that has run out is nobody's.
        free = or_(table.c.lease_token.is_(None), table.c.lease_expires_at < func.clock_timestamp())
        overdue = select(func.greatest(age, 0)).where(free)
        lags.append((str(table), float((await session.execute(overdue)).scalar_one() or 0.0)))
    return lags


async def set_aside(session: AsyncSession) -> Sequence[tuple[str, int]]:
    """By table: how many rows ended worker after worker, and are looked at ever more seldom."""
    found = []
    for table in _reconciled():
        # They are always due: few rows are looked at.
        ended_workers = (table.c.next_check_at <= func.now()) & leases.is_set_aside(table)
        statement = select(func.count()).select_from(table).where(ended_workers)
        found.append((str(table), (await session.execute(statement)).scalar_one()))
    return found


def _reconciled() -> list[Table]:
    mappers = (mapper for mapper in Base.registry.mappers if issubclass(mapper.class_, Reconciled))
    return sorted((cast("Table", mapper.local_table) for mapper in mappers), key=str)


async def _counts(session: AsyncSession, statement: Select[str, int]) -> Sequence[tuple[str, int]]:
    return sorted((name, count) for name, count in await session.execute(statement))
