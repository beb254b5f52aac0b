"""Plans: who gets which nodes, which clusters grow and shrink, who has to wait and why."""

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import cast

from sqlalchemy import Table, delete, func
from sqlalchemy.ext.asyncio import AsyncSession

from app.costs import accounts
from app.costs.budget import MAX_COST_SPENT, covers
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.ids import new_id
from app.planning import repository, snapshot
from app.planning.snapshot import Loaded
from app.providers.base import Host, HostState, ProviderError
from app.runs import attempts, interruptions, waiting
from app.runs.transitions import lock_run
from app.scheduling.forecast import Lasts, forecast
from app.scheduling.planner import plan
from app.scheduling.types import Place, Plan, Reason
from app.tables.cluster import Cluster, ClusterNode
from app.tables.planning import Planning
from workers.context import WorkerContext
from workers.reconciler import Guard
from workers.stop_spending import pause_until_spent, stop_what_is_spent

_BUSY_CHECK_SECONDS = 10.0
_PROVIDER_CHECK_SECONDS = 2.0
_SHORTEST_PAUSE_SECONDS = 0.1


class PlanningReconciler:
    """One step: look at everything that shares the hosts, plan it, carry the plan out.

    Only the holder of the planning row's lease adds, gives or removes nodes, so what was planned
    on is still so when the plan is carried out; runs that have ended meanwhile are left alone.
    """

    table = cast("Table", Planning.__table__)

    def __init__(self, context: WorkerContext) -> None:
        self._context = context

    async def reconcile(self, guard: Guard) -> float | None:
        """Plan and apply; says when something will have to be done without anybody's asking."""
        async with self._context.database.session() as session:
            await guard.check(session)
            await stop_what_is_spent(session)
        try:
            hosts = await self._context.provider.hosts()
        except ProviderError as error:
            return await self._wait_for_provider(guard, str(error))
        async with self._context.database.session() as session:
            await guard.check(session)
            await session.execute(delete(Cluster).where(Cluster.provisioning_state == "Deleting"))
        async with self._context.database.session() as session:
            loaded = await snapshot.load(session, self._context.settings, hosts)
        started = monotonic()
        # Thousands of gangs take a second: heartbeats of leases go on meanwhile.
        decision = await asyncio.to_thread(plan, loaded.snapshot)
        took_seconds = monotonic() - started
        starts = await asyncio.to_thread(forecast, loaded.snapshot, decision.waiting, loaded.lasts)
        reached(CrashPoint.PLAN_MADE)
        async with self._context.database.session() as session:
            await guard.check(session)
            for run_id in loaded.spent_runs:
                await interruptions.stop_spending(session, run_id=run_id, code=MAX_COST_SPENT)
            await self._apply(session, loaded, decision, hosts, starts)
            row = await session.get_one(Planning, guard.lease.row_id)
            row.planned_at = func.clock_timestamp()
            row.took_seconds = took_seconds
            spending = await pause_until_spent(session)
        pauses = [pause for pause in (_next_check(loaded, decision), spending) if pause is not None]
        return min(pauses, default=None)

    async def _wait_for_provider(self, guard: Guard, words: str) -> float:
        """Let clusters and the runs that wait for them say why nothing goes on."""
        provider = self._context.provider.name
        async with self._context.database.session() as session:
            await guard.check(session)
            for cluster in await repository.clusters(session):
                cluster.errors = [{"code": "provider_unavailable", "message": words}]
            for queued in await repository.queue(session):
                run = await lock_run(session, queued.id)
                waiting.note_provider(session, run, provider, words)
        return _PROVIDER_CHECK_SECONDS

    async def _apply(
        self,
        session: AsyncSession,
        loaded: Loaded,
        decision: Plan,
        hosts: Sequence[Host],
        starts: Mapping[str, Lasts],
    ) -> None:
        if decision.remove_node_ids:
            await session.execute(
                delete(ClusterNode).where(
                    ClusterNode.id.in_(decision.remove_node_ids), ClusterNode.run_id.is_(None)
                )
            )
        indexes = _FreeIndexes(loaded, decision)
        for place in decision.new_nodes:
            session.add(_node(place, indexes))
        money = await accounts.load(session)
        left = money.available()
        costs = {gang.run_id: (gang.cluster_id, gang.cost) for gang in loaded.snapshot.queue}
        for run_id, placement in decision.placed.items():
            cluster_id, cost = costs[run_id]
            workspace_id = loaded.clusters[cluster_id].workspace_id
            if workspace_id in left:
                # The plan was made of what the budget was before this transaction.
                if not covers(left[workspace_id], cost):
                    continue
                left[workspace_id] -= cost
            new = [_node(place, indexes) for place in placement.new]
            session.add_all(new)
            await session.flush()
            node_ids = [*placement.node_ids, *(node.id for node in new)]
            await attempts.begin(
                session,
                run_id=run_id,
                cluster_node_ids=node_ids,
                price_per_node_hour=loaded.prices[run_id],
                reserved=cost,
            )
        for preempted in decision.preempted:
            await interruptions.preempt(
                session, run_id=preempted.run_id, for_run_id=preempted.for_run_id
            )
        for evicted in decision.evicted:
            because = f"Its host {evicted.host} is being drained."
            await interruptions.evict(
                session, run_id=evicted.run_id, host=evicted.host, because=because
            )
        lacking = {}
        for item in decision.waiting:
            workspace_id = loaded.clusters[item.cluster_id].workspace_id
            if item.reason is Reason.BUDGET and workspace_id in left:
                lacking[item.run_id] = waiting.money_lacking(
                    needed=costs[item.run_id][1],
                    account=money.of_workspace[workspace_id],
                    left=left[workspace_id],
                    currency=self._context.settings.currency,
                )
        names = {cluster_id: row.name for cluster_id, row in loaded.clusters.items()}
        await waiting.explain_waiting(
            session,
            decision.waiting,
            cluster_names=names,
            before=loaded.blockers,
            starts=starts,
            money=lacking,
        )
        await _show(session, decision, hosts)


class _FreeIndexes:
    """Numbers for new nodes: the lowest that no node of their cluster has."""

    def __init__(self, loaded: Loaded, decision: Plan) -> None:
        gone = set(decision.remove_node_ids)
        self._taken: dict[str, set[int]] = {cluster_id: set() for cluster_id in loaded.clusters}
        for node in loaded.snapshot.nodes:
            if node.id not in gone:
                self._taken[node.cluster_id].add(node.index)

    def take(self, cluster_id: str) -> int:
        taken = self._taken[cluster_id]
        index = next(number for number in range(len(taken) + 1) if number not in taken)
        taken.add(index)
        return index


def _node(place: Place, indexes: _FreeIndexes) -> ClusterNode:
    return ClusterNode(
        id=new_id("node"),
        cluster_id=place.cluster_id,
        index=indexes.take(place.cluster_id),
        host=place.host,
        cores=place.size.cores,
        memory_bytes=place.size.memory_bytes,
        gpus=place.size.gpus,
        gpu_ids=list(place.gpu_ids),
    )


async def _show(session: AsyncSession, decision: Plan, hosts: Sequence[Host]) -> None:
    """Let every cluster say how it is; rows that stay as they are are not written."""
    counts: dict[str, int] = {}
    for node in await repository.nodes(session):
        counts[node.cluster_id] = counts.get(node.cluster_id, 0) + 1
    errors = [
        {"code": f"host_{host.state}", "message": f"Host {host.name}: {host.detail}"}
        for host in hosts
        if host.state != HostState.READY
    ]
    for cluster in await repository.clusters(session):
        target = decision.target_node_counts.get(cluster.id)
        if target is None:
            continue
        if cluster.provisioning_state == "Creating":
            cluster.provisioning_state = "Succeeded"
            cluster.provisioning_state_at = func.clock_timestamp()
        state = "Steady" if counts.get(cluster.id, 0) == target else "Resizing"
        if cluster.allocation_state != state:
            cluster.allocation_state = state
            cluster.allocation_state_at = func.clock_timestamp()
        if cluster.target_node_count != target:
            cluster.target_node_count = target
        if cluster.errors != errors:
            cluster.errors = errors


def _next_check(loaded: Loaded, decision: Plan) -> float | None:
    of_hosts = loaded.hosts_change_in_seconds
    if decision.waiting:
        return min([_BUSY_CHECK_SECONDS, *of_hosts])
    going = {node_id for item in decision.placed.values() for node_id in item.node_ids}
    going |= set(decision.remove_node_ids)
    pauses = [
        loaded.clusters[node.cluster_id].idle_seconds_before_scaledown - node.idle_seconds
        for node in loaded.snapshot.nodes
        if not node.run_id and node.id not in going
    ]
    # Those of a minimum are old and stay: they give no reason to look again.
    later = [pause for pause in [*pauses, *of_hosts] if pause > 0.0]
    return max(_SHORTEST_PAUSE_SECONDS, min(later)) if later else None
