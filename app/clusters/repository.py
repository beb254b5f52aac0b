"""Queries about clusters and nodes."""

from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.clusters.errors import ClusterNotFound
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.batch_scoring import BatchScoring
from app.tables.cluster import Cluster, ClusterNode
from app.tables.host import HostSettings, SeenHost
from app.tables.run import Attempt, Run, RunNode
from app.tables.sweep import Sweep

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


async def hold(session: AsyncSession, workspace_id: str, name: str) -> Cluster | None:
    """The cluster as it is now; nobody deletes it before the transaction ends.

    What refers to the cluster locks it in this very way when it is written, so this costs little
    and hinders nobody but those who delete it.
    """
    statement = (
        select(Cluster)
        .where(Cluster.workspace_id == workspace_id, Cluster.name == name)
        .with_for_update(read=True, key_share=True)
        .execution_options(populate_existing=True)
    )
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


_STATE: ColumnElement[str] = case(
    (ClusterNode.unusable_because.is_not(None), "unusable"),
    (SeenHost.state.in_(("down", "unreachable", "unknown")), "unusable"),
    (HostSettings.draining_since.is_not(None), "leaving"),
    (Cluster.provisioning_state == "Deleting", "leaving"),
    (Attempt.gives_way_because.is_not(None), "preempted"),
    (RunNode.state.in_(("Assigned", "Launched", "Ready")), "preparing"),
    (ClusterNode.run_id.is_not(None), "running"),
    else_="idle",
)
"""State of a node: made of the rows that know, so that it is never behind them."""


def _with_state(*columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .select_from(ClusterNode)
        .join(Cluster, Cluster.id == ClusterNode.cluster_id)
        .outerjoin(SeenHost, SeenHost.name == ClusterNode.host)
        .outerjoin(HostSettings, HostSettings.name == ClusterNode.host)
        .outerjoin(Run, Run.id == ClusterNode.run_id)
        .outerjoin(Attempt, (Attempt.run_id == Run.id) & (Attempt.number == Run.attempt))
        .outerjoin(
            RunNode,
            (RunNode.run_id == Run.id)
            & (RunNode.attempt == Run.attempt)
            & (RunNode.cluster_node_id == ClusterNode.id),
        )
    )


async def list_nodes(
    session: AsyncSession, cluster_id: str, page: PageQuery
) -> tuple[list[tuple[ClusterNode, str]], str]:
    """Nodes of a cluster by index, with their states."""
    return await fetch_page(
        session,
        _with_state(ClusterNode, _STATE)
        .where(ClusterNode.cluster_id == cluster_id)
        .execution_options(populate_existing=True),
        keys=[ClusterNode.index],
        page=page,
        key_of=lambda row: [row[0].index],
        scalars=False,
    )


async def node_state_counts(session: AsyncSession, cluster_id: str) -> dict[str, int]:
    """How many nodes are in which state."""
    statement = (
        _with_state(_STATE, func.count())
        .where(ClusterNode.cluster_id == cluster_id)
        .group_by(_STATE)
    )
    counts = await session.execute(statement)
    return {state: count for state, count in counts}  # noqa: C416  (a row is no tuple to mypy)


async def users(session: AsyncSession, cluster: Cluster) -> list[str]:
    """What still needs the cluster, one of a kind: a run, a sweep, a batch scoring; as words."""
    run = select(Run.id).where(Run.cluster_id == cluster.id, Run.status.in_(UNFINISHED))
    sweep = select(Sweep.id).where(
        Sweep.workspace_id == cluster.workspace_id,
        Sweep.ended_at.is_(None),
        Sweep.spec["trial"]["cluster_name"].as_string() == cluster.name,
    )
    scoring = select(BatchScoring.id).where(
        BatchScoring.workspace_id == cluster.workspace_id,
        BatchScoring.ended_at.is_(None),
        BatchScoring.spec["cluster_name"].as_string() == cluster.name,
    )
    found = []
    for kind, statement in (("run", run), ("sweep", sweep), ("batch scoring", scoring)):
        row_id = await session.scalar(statement.limit(1))
        if row_id is not None:
            found.append(f"{kind} {row_id}")
    return found
