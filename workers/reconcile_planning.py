"""Plans: who gets which nodes, which clusters grow and shrink, who has to wait and why."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from time import monotonic
from typing import Any, cast

import structlog
from sqlalchemy import Table, delete, func
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.crash_points import CrashPoint, reached
from app.planning import repository, snapshot
from app.planning.snapshot import Loaded, OddRow
from app.providers.base import Host, HostState, ProviderError
from app.runs import waiting
from app.runs.blockers import readable
from app.scheduling.forecast import forecast
from app.scheduling.planner import plan
from app.scheduling.types import Plan
from app.tables.cluster import Cluster
from app.tables.planning import Planning
from app.tables.run import Run
from workers.carry_out_plan import CarriedOut, carry_out
from workers.context import WorkerContext
from workers.reconciler import Guard
from workers.stop_spending import pause_until_spent, stop_what_is_spent

_BUSY_CHECK_SECONDS = 10.0
_PROVIDER_CHECK_SECONDS = 2.0
_SHORTEST_PAUSE_SECONDS = 0.1
_MOST_PASSES = 4
"""So often a plan is made anew without runs whose rows could not be written."""
_EXPLAINED = 10_000
"""So many runs at most learn from one plan that they wait for another reason than before."""
_WRITTEN_AT_ONCE = 1000
"""Of them so many in a transaction: those who submit and cancel hardly wait for it."""

_Blockers = Mapping[str, dict[str, Any]]
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Made:
    """A plan that has been carried out.

    Attributes:
        loaded: what it was made of.
        decision: the plan.
        done: what came of it.
        spending_seconds: until somebody may have spent what there is; None: nobody.
    """

    loaded: Loaded
    decision: Plan
    done: CarriedOut
    spending_seconds: float | None


class PlanningReconciler:
    """One step: look at everything that shares the hosts, plan it, carry the plan out.

    Only the holder of the planning row's lease adds, gives or removes nodes, so what was planned
    on is still so when the plan is carried out; runs that have ended meanwhile are left alone.
    """

    table = cast("Table", Planning.__table__)

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._odd: frozenset[OddRow] = frozenset()

    async def reconcile(self, guard: Guard) -> float | None:
        """Plan and apply; says when something will have to be done without anybody's asking."""
        async with self._context.database.session() as session:
            await guard.check(session)
            are_stopped = await stop_what_is_spent(session)
        try:
            hosts = await self._context.provider.hosts()
        except ProviderError as error:
            return await self._wait_for_provider(guard, str(error))
        async with self._context.database.session() as session:
            await guard.check(session)
            await session.execute(delete(Cluster).where(Cluster.provisioning_state == "Deleting"))
        failed: dict[str, str] = {}
        for _ in range(_MOST_PASSES):
            made = await self._plan(guard, hosts, failed)
            if not made.done.failed:
                break
            failed |= made.done.failed
        self._tell_of_odd(made.loaded.odd)
        is_all_said = await self._explain(guard, made, failed)
        pauses = [_next_check(made.loaded, made.decision)]
        if are_stopped:
            pauses.append(made.spending_seconds)
        if made.loaded.odd or failed or not are_stopped:
            pauses.append(_BUSY_CHECK_SECONDS)  # whoever mends a row by hand wakes nobody
        if not is_all_said:
            pauses.append(_SHORTEST_PAUSE_SECONDS)
        return min((pause for pause in pauses if pause is not None), default=None)

    async def _plan(self, guard: Guard, hosts: Sequence[Host], failed: Mapping[str, str]) -> _Made:
        """Plan once, without those whose rows could not be written, and carry it out."""
        settings = self._context.settings
        async with self._context.database.session() as session:
            loaded = await snapshot.load(session, settings, hosts)
        if failed:
            queue = tuple(gang for gang in loaded.snapshot.queue if gang.run_id not in failed)
            loaded = replace(loaded, snapshot=replace(loaded.snapshot, queue=queue))
        started = monotonic()
        # Thousands of gangs take a second: heartbeats of leases go on meanwhile.
        decision = await asyncio.to_thread(plan, loaded.snapshot)
        took_seconds = monotonic() - started
        reached(CrashPoint.PLAN_MADE)
        async with self._context.database.session() as session:
            await guard.check(session)
            done = await carry_out(session, loaded, decision, currency=settings.currency)
            await _show(session, decision, hosts)
            row = await session.get_one(Planning, guard.lease.row_id)
            row.planned_at = func.clock_timestamp()
            row.took_seconds = took_seconds
            spending = await pause_until_spent(session)
        return _Made(loaded, decision, done, spending)

    def _tell_of_odd(self, odd: frozenset[OddRow]) -> None:
        """Log rows that cannot be worked with: once, not with every plan."""
        for row in sorted(odd - self._odd):
            _log.error("row_unreadable", table=row.table, row_id=row.id, error=row.error)
        self._odd = odd

    async def _explain(self, guard: Guard, made: _Made, failed: Mapping[str, str]) -> bool:
        """Let waiting runs say why; False: there are more than one plan writes."""
        loaded, done = made.loaded, made.done
        starts = await asyncio.to_thread(
            forecast, loaded.snapshot, made.decision.waiting, loaded.lasts
        )
        found = await asyncio.to_thread(
            waiting.explained,
            done.waiting,
            cluster_names={cluster_id: row.name for cluster_id, row in loaded.clusters.items()},
            before=loaded.blockers,
            starts=starts,
            money=done.money,
        )
        changed = dict(found.changed)
        left_out = {run_id: waiting.not_written(error) for run_id, error in failed.items()}
        for row in loaded.odd:
            if row.table == Run.__tablename__ and row.id in loaded.blockers:
                left_out[row.id] = waiting.unreadable(row.error)
        for run_id, words in left_out.items():
            now = loaded.blockers.get(run_id, [])
            said = waiting.kept_since(now, words)
            if now != [said]:
                changed[run_id] = said
        await self._write(guard, changed, with_event=True)
        await self._write(guard, waiting.worth_following(found.moved), with_event=False)
        return len(changed) <= _EXPLAINED

    async def _write(self, guard: Guard, blockers: _Blockers, *, with_event: bool) -> None:
        for some in _parts(blockers):
            async with self._context.database.session() as session:
                await guard.check(session)
                await waiting.write_blockers(session, some, with_event=with_event)

    async def _wait_for_provider(self, guard: Guard, words: str) -> float:
        """Let clusters and the runs that wait for them say why nothing goes on."""
        async with self._context.database.session() as session:
            await guard.check(session)
            for cluster in await repository.clusters(session):
                cluster.errors = [{"code": "provider_unavailable", "message": words}]
            queue = {row.id: row.blockers for row in await repository.queue(session)}
        found = waiting.provider_away(self._context.provider.name, words)
        said = {run_id: waiting.kept_since(now, found) for run_id, now in queue.items()}
        is_new = {
            run_id
            for run_id in said
            if [b["code"] for b in readable(queue[run_id])] != [found["code"]]
        }
        other_words = {r: b for r, b in said.items() if r not in is_new and queue[r] != [b]}
        await self._write(guard, {r: b for r, b in said.items() if r in is_new}, with_event=True)
        await self._write(guard, other_words, with_event=False)
        return _PROVIDER_CHECK_SECONDS


def _parts(blockers: _Blockers) -> Iterator[_Blockers]:
    left = islice(blockers.items(), _EXPLAINED)
    while some := dict(islice(left, _WRITTEN_AT_ONCE)):
        yield some


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
