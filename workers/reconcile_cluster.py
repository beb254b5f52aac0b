"""Moves a cluster towards its desired state: places runs, grows, shrinks."""

from collections.abc import Sequence
from typing import cast

from sqlalchemy import Table, delete, func, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.clusters import repository
from app.kernel.ids import new_id
from app.providers.base import Host, HostState, ProviderError
from app.runs import attempts
from app.runs.transitions import lock_run
from app.scheduling.planner import plan
from app.scheduling.rooms import Place, Room, spread
from app.scheduling.types import Gang, Node, Plan, Snapshot
from app.tables.cluster import Cluster, ClusterNode
from app.tables.run import Run
from workers.cluster_rooms import rooms
from workers.context import WorkerContext
from workers.reconciler import Guard

_HOST_LOCK = 0x7459
_BUSY_CHECK_SECONDS = 10.0
_PROVIDER_CHECK_SECONDS = 2.0


class ClusterReconciler:
    """One step: plan with what there is, apply, and once more when nodes were added."""

    table = cast("Table", Cluster.__table__)

    def __init__(self, context: WorkerContext) -> None:
        self._context = context

    async def reconcile(self, guard: Guard) -> float | None:
        """Plan and apply; says when the next idle node may have to go."""
        try:
            hosts = await self._context.provider.hosts()
        except ProviderError as error:
            return await self._wait_for_provider(guard, str(error))
        async with self._context.database.session() as session:
            await guard.check(session)
            # Hosts are shared by all clusters: their growth is decided one after the other.
            await session.execute(text(f"SELECT pg_advisory_xact_lock({_HOST_LOCK})"))
            cluster = await session.get_one(Cluster, guard.lease.row_id)
            if cluster.provisioning_state == "Deleting":
                await session.execute(
                    delete(ClusterNode).where(ClusterNode.cluster_id == cluster.id)
                )
                await session.delete(cluster)
                return None
            return await self._step(session, cluster, hosts)

    async def _wait_for_provider(self, guard: Guard, words: str) -> float:
        """Let the cluster and the runs that wait for it say why nothing goes on."""
        provider = self._context.provider.name
        async with self._context.database.session() as session:
            await guard.check(session)
            cluster = await session.get_one(Cluster, guard.lease.row_id)
            cluster.errors = [{"code": "provider_unavailable", "message": words}]
            for run in await repository.queued_runs(session, cluster.id):
                attempts.note_provider(session, await lock_run(session, run.id), provider, words)
        return _PROVIDER_CHECK_SECONDS

    async def _step(
        self, session: AsyncSession, cluster: Cluster, hosts: Sequence[Host]
    ) -> float | None:
        free = await rooms(session, self._context.settings, cluster, hosts)
        snapshot = await _snapshot(session, cluster, free)
        decision = plan(snapshot)
        if decision.add_node_count:
            await _add_nodes(session, cluster, spread(free, count=decision.add_node_count))
            free = await rooms(session, self._context.settings, cluster, hosts)
            snapshot = await _snapshot(session, cluster, free)
            decision = plan(snapshot)
        for run_id, node_ids in decision.placed.items():
            await attempts.begin(session, run_id=run_id, cluster_node_ids=node_ids)
        if decision.remove_node_ids:
            await session.execute(
                delete(ClusterNode).where(ClusterNode.id.in_(decision.remove_node_ids))
            )
        await attempts.explain_waiting(session, cluster, decision.waiting)
        node_count = len(snapshot.nodes) - len(decision.remove_node_ids)
        _show(cluster, decision, node_count)
        cluster.errors = [
            {"code": f"host_{host.state}", "message": f"Host {host.name}: {host.detail}"}
            for host in hosts
            if host.state != HostState.READY
        ]
        return _next_check(snapshot, decision)


async def _snapshot(session: AsyncSession, cluster: Cluster, free: Sequence[Room]) -> Snapshot:
    now = await repository.database_now(session)
    nodes = await repository.nodes(session, cluster.id)
    queue = await repository.queued_runs(session, cluster.id)
    usable = {room.host for room in free}
    return Snapshot(
        nodes=tuple(
            Node(
                id=node.id,
                index=node.index,
                is_idle=node.state == "idle",
                idle_seconds=now - node.idle_since.timestamp() if node.idle_since else 0.0,
                is_usable=node.host in usable,
            )
            for node in nodes
        ),
        queue=tuple(_gang(run) for run in queue),
        min_nodes=cluster.min_nodes,
        max_nodes=cluster.max_nodes,
        idle_seconds_before_scaledown=cluster.idle_seconds_before_scaledown,
        addable_node_count=sum(room.node_count for room in free),
    )


async def _add_nodes(session: AsyncSession, cluster: Cluster, places: Sequence[Place]) -> None:
    used = {node.index for node in await repository.nodes(session, cluster.id)}
    free = (index for index in range(len(used) + len(places)) if index not in used)
    for index, place in zip(free, places, strict=False):
        session.add(
            ClusterNode(
                id=new_id("node"),
                cluster_id=cluster.id,
                index=index,
                host=place.host,
                cores=place.size.cores,
                memory_bytes=place.size.memory_bytes,
                gpus=place.size.gpus,
                gpu_ids=list(place.gpu_ids),
            )
        )
    await session.flush()


def _gang(run: Run) -> Gang:
    queued_at = run.queued_at.timestamp() if run.queued_at else 0.0
    return Gang(run_id=run.id, node_count=run.node_count, queued_order=(queued_at, run.id))


def _show(cluster: Cluster, decision: Plan, node_count: int) -> None:
    if cluster.provisioning_state == "Creating":
        cluster.provisioning_state = "Succeeded"
        cluster.provisioning_state_at = func.clock_timestamp()
    state = "Steady" if node_count == decision.target_node_count else "Resizing"
    if cluster.allocation_state != state:
        cluster.allocation_state = state
        cluster.allocation_state_at = func.clock_timestamp()
    cluster.target_node_count = decision.target_node_count


def _next_check(snapshot: Snapshot, decision: Plan) -> float | None:
    if decision.waiting:
        return _BUSY_CHECK_SECONDS
    placed = {node_id for ids in decision.placed.values() for node_id in ids}
    going = placed | set(decision.remove_node_ids)
    ages = [n.idle_seconds for n in snapshot.nodes if n.is_idle and n.id not in going]
    if not ages or len(snapshot.nodes) - len(decision.remove_node_ids) <= snapshot.min_nodes:
        return None
    return max(0.1, snapshot.idle_seconds_before_scaledown - max(ages))
