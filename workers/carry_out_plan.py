"""What a plan decided, as rows: nodes, attempts, and who is told to go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.costs import accounts
from app.costs.accounts import Accounts
from app.costs.budget import MAX_COST_SPENT, covers
from app.kernel.ids import new_id
from app.planning.snapshot import Loaded
from app.runs import attempts, interruptions, waiting
from app.scheduling.types import Place, Placement, Plan, Reason, Waiting
from app.tables.cluster import ClusterNode
from workers.apart import apart


@dataclass(frozen=True)
class CarriedOut:
    """What came of it.

    Attributes:
        waiting: who still waits, those included that money was there for when the plan was made
            and is not any more.
        money: of those that a budget keeps waiting, the amounts.
        failed: runs that were to get nodes and whose rows could not be written, with the error.
    """

    waiting: Sequence[Waiting]
    money: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, str]


async def carry_out(
    session: AsyncSession, loaded: Loaded, decision: Plan, *, currency: str
) -> CarriedOut:
    """Write all of it; what cannot be written of one run keeps nothing else from being written.

    Args:
        session: a transaction that holds the planner's row.
        loaded: what the plan was made of.
        decision: the plan.
        currency: of all amounts.
    """
    for run_id in loaded.spent_runs:
        async with apart(session, run_id):
            await interruptions.stop_spending(session, run_id=run_id, code=MAX_COST_SPENT)
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
    failed: dict[str, str] = {}
    unaffordable: list[Waiting] = []
    for run_id, placement in decision.placed.items():
        cluster_id, cost = costs[run_id]
        workspace_id = loaded.clusters[cluster_id].workspace_id
        # The plan was made of what the budget was before this transaction.
        if workspace_id in left and not covers(left[workspace_id], cost):
            unaffordable.append(Waiting(run_id, cluster_id, 1, Reason.BUDGET))
            continue
        async with apart(session, run_id, failed):
            await _begin(session, loaded, run_id, placement, indexes, reserved=cost)
        if workspace_id in left and run_id not in failed:
            left[workspace_id] -= cost
    await _tell(session, decision)
    everybody = [*unaffordable, *decision.waiting]
    lacking = _lacking(everybody, loaded, money=money, left=left, currency=currency)
    return CarriedOut(everybody, lacking, failed)


async def _begin(
    session: AsyncSession,
    loaded: Loaded,
    run_id: str,
    placement: Placement,
    indexes: "_FreeIndexes",
    *,
    reserved: float,
) -> None:
    new = [_node(place, indexes) for place in placement.new]
    session.add_all(new)
    await session.flush()
    await attempts.begin(
        session,
        run_id=run_id,
        cluster_node_ids=[*placement.node_ids, *(node.id for node in new)],
        price_per_node_hour=loaded.prices[run_id],
        reserved=reserved,
    )


async def _tell(session: AsyncSession, decision: Plan) -> None:
    """Have runs give up their nodes."""
    for preempted in decision.preempted:
        async with apart(session, preempted.run_id):
            await interruptions.preempt(
                session, run_id=preempted.run_id, for_run_id=preempted.for_run_id
            )
    for evicted in decision.evicted:
        because = f"Its host {evicted.host} is being drained."
        async with apart(session, evicted.run_id):
            await interruptions.evict(
                session, run_id=evicted.run_id, host=evicted.host, because=because
            )


def _lacking(
    everybody: Sequence[Waiting],
    loaded: Loaded,
    *,
    money: Accounts,
    left: Mapping[str, float],
    currency: str,
) -> dict[str, dict[str, Any]]:
    """The amounts of those that a budget keeps waiting, without what is kept for whoever leads."""
    costs = {gang.run_id: gang.cost for gang in loaded.snapshot.queue}
    ahead = {item.object for item in everybody if item.reason is Reason.BEHIND_RUN}
    left, found = dict(left), {}
    for item in everybody:
        workspace_id = loaded.clusters[item.cluster_id].workspace_id
        if workspace_id not in left:
            continue
        if item.reason is Reason.BUDGET:
            found[item.run_id] = waiting.money_lacking(
                needed=costs[item.run_id],
                account=money.of_workspace[workspace_id],
                left=left[workspace_id],
                currency=currency,
            )
        elif _leads(item) or item.run_id in ahead:
            left[workspace_id] -= costs[item.run_id]
    return found


def _leads(item: Waiting) -> bool:
    """Whether nodes are being kept for it: whose cluster is full, or who has a moment to start."""
    if item.reason is Reason.PREEMPTING:
        return True
    is_ahead = bool(item.object) or item.starts_in_seconds < inf
    return item.reason is Reason.NO_CAPACITY_NOW and is_ahead


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
