"""Queries about clusters and nodes."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.clusters.errors import ClusterNotFound
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.cluster import Cluster, ClusterNode
from app.tables.run import Run

UNFINISHED = (
    "NotStarted",
    "Starting",
    "Provisioning",
    "Preparing",
    "Queued",
    "Running",
    "NotResponding",
    "Finalizing",
    "CancelRequested",
)


async def find(session: AsyncSession, workspace_id: str, name: str) -> Cluster | None:
    """The cluster of this name, if there is one."""
    statement = select(Cluster).where(Cluster.workspace_id == workspace_id, Cluster.name == name)
    return (await session.execute(statement)).scalar_one_or_none()


async def get(session: AsyncSession, workspace_id: str, name: str) -> Cluster:
    """The cluster of this name.

    Raises:
        ClusterNotFound: there is none.
    """
    row = await find(session, workspace_id, name)
    if row is None:
        raise ClusterNotFound(name)
    return row


async def list_page(
    session: AsyncSession, workspace_id: str, page: PageQuery
) -> tuple[list[Cluster], str]:
    """Clusters of a workspace by name."""
    return await fetch_page(
        session,
        select(Cluster).where(Cluster.workspace_id == workspace_id),
        keys=[Cluster.name],
        page=page,
        key_of=lambda row: [row.name],
    )


async def nodes(session: AsyncSession, cluster_id: str) -> Sequence[ClusterNode]:
    """Nodes of a cluster by index."""
    statement = (
        select(ClusterNode)
        .where(ClusterNode.cluster_id == cluster_id)
        .order_by(ClusterNode.index)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).scalars().all()


async def node_state_counts(session: AsyncSession, cluster_id: str) -> dict[str, int]:
    """How many nodes are in which state."""
    statement = (
        select(ClusterNode.state, func.count())
        .where(ClusterNode.cluster_id == cluster_id)
        .group_by(ClusterNode.state)
    )
    counts = await session.execute(statement)
    return {state: count for state, count in counts}  # noqa: C416  (a row is no tuple to mypy)


async def has_unfinished_runs(session: AsyncSession, cluster_id: str) -> bool:
    """Whether a run waits for or runs on the cluster."""
    statement = (
        select(Run.id).where(Run.cluster_id == cluster_id, Run.status.in_(UNFINISHED)).limit(1)
    )
    return (await session.execute(statement)).first() is not None
