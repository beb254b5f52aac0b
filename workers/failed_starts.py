"""Starts of nodes that fail: tried again ever more seldom, counted, and at last elsewhere."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import case, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.clock import database_now
from app.planning import repository as planning
from app.planning.service import wake_planner
from app.providers.base import HostState, ProviderError
from app.runs import interruptions, waiting
from app.runs.transitions import lock_run
from app.tables.cluster import Cluster, ClusterNode
from app.tables.host import HostFailure
from app.tables.run import Run, RunNode
from workers.context import WorkerContext
from workers.reconciler import Guard

_TRIES = 3
"""So often a node is tried before another one, on another host, is."""
_LONGEST_PAUSE_SECONDS = 30.0
_HOST_PAUSE_SECONDS = 10.0
_LONGEST_HOST_PAUSE_SECONDS = 600.0


def pause_seconds(failed_starts: int) -> float:
    """How long to wait after so many failures in a row: 1, 2, 4, … and never over half a minute."""
    return float(min(2.0 ** (failed_starts - 1), _LONGEST_PAUSE_SECONDS))


class FailedStarts:
    """Keeps account of them on nodes, clusters and hosts."""

    def __init__(self, context: WorkerContext) -> None:
        self._database = context.database
        self._provider = context.provider

    async def note(
        self, guard: Guard, run: Run, failed: Sequence[tuple[RunNode, ProviderError]]
    ) -> float:
        """Nodes could not be started now; says when to try again, 0 when the attempt gives way.

        Raises:
            ProviderError: the provider as a whole is away, which is no node's failure.
        """
        ready = {h.name for h in await self._provider.hosts() if h.state == HostState.READY}
        async with self._database.session() as session:
            await wake_planner(session)
            await guard.check(session)
            run = await lock_run(session, run.id)
            first, error = failed[0]
            waiting.note_provider(session, run, self._provider.name, str(error))
            count = await _count(session, run, failed)
            wanted = await planning.host_settings(session)
            away = {row.name for row in wanted if row.is_draining}
            away |= {node.host for node, _ in failed} | set(await planning.failing_hosts(session))
            if count < _TRIES or not ready - away:
                return pause_seconds(count)
            await _give_up(session, failed)
            because = f"Node {first.node_index} cannot be started on host {first.host}: {error}"
            await interruptions.evict(session, run_id=run.id, host=first.host, because=because)
        return 0.0

    async def forget(self, nodes: Sequence[RunNode]) -> None:
        """These have been started: what failed before counts no more."""
        ids = [node.cluster_node_id for node in nodes]
        hosts = {node.host for node in nodes}
        failed = select(ClusterNode.id).where(
            ClusterNode.id.in_(ids), ClusterNode.failed_starts > 0
        )
        of_cluster = (
            select(Cluster.id)
            .join(ClusterNode, ClusterNode.cluster_id == Cluster.id)
            .where(ClusterNode.id.in_(ids), Cluster.failed_starts > 0)
        )
        of_host = select(HostFailure.name).where(HostFailure.name.in_(hosts))
        async with self._database.session() as session:
            if not await session.scalar(
                select(exists(failed) | exists(of_cluster) | exists(of_host))
            ):
                return
            await wake_planner(session)
            for statement in (
                update(ClusterNode).where(ClusterNode.id.in_(failed)).values(failed_starts=0),
                update(Cluster)
                .where(Cluster.id.in_(of_cluster))
                .values(failed_starts=0, start_error=None),
                delete(HostFailure).where(HostFailure.name.in_(hosts)),
            ):
                await session.execute(statement.execution_options(synchronize_session=False))


async def _count(
    session: AsyncSession, run: Run, failed: Sequence[tuple[RunNode, ProviderError]]
) -> int:
    """Count on nodes and cluster; the most failures of one node."""
    node, error = failed[0]
    cluster = await session.get_one(Cluster, run.cluster_id, populate_existing=True)
    cluster.failed_starts += len(failed)
    cluster.start_error = {
        "message": str(error),
        "host": node.host,
        "at": (await database_now(session)).isoformat(),
    }
    counted = (
        update(ClusterNode)
        .where(ClusterNode.id.in_([node.cluster_node_id for node, _ in failed]))
        .values(failed_starts=ClusterNode.failed_starts + 1)
        .returning(ClusterNode.failed_starts)
        .execution_options(synchronize_session=False)
    )
    return max((await session.execute(counted)).scalars(), default=1)


async def _give_up(session: AsyncSession, failed: Sequence[tuple[RunNode, ProviderError]]) -> None:
    """The nodes are of no more use, and their hosts are left alone, longer each time."""
    for node, error in failed:
        await session.execute(
            update(ClusterNode)
            .where(ClusterNode.id == node.cluster_node_id)
            .values(unusable_because=str(error))
            .execution_options(synchronize_session=False)
        )
    for host in {node.host for node, _ in failed}:
        words = next(str(error) for node, error in failed if node.host == host)
        first = timedelta(seconds=_HOST_PAUSE_SECONDS)
        new = insert(HostFailure).values(
            name=host, count=1, error=words, retry_at=func.clock_timestamp() + first
        )
        longer = _HOST_PAUSE_SECONDS * func.power(2.0, HostFailure.count)
        pause = case(
            (longer > _LONGEST_HOST_PAUSE_SECONDS, _LONGEST_HOST_PAUSE_SECONDS), else_=longer
        )
        changes = {
            "count": HostFailure.count + 1,
            "error": words,
            "retry_at": func.clock_timestamp() + pause * timedelta(seconds=1),
        }
        await session.execute(new.on_conflict_do_update(index_elements=["name"], set_=changes))
