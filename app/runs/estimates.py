"""What a run would cost, how long it would take, and when it would start."""

import asyncio
from datetime import datetime, timedelta
from math import inf

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from app.costs import prices
from app.hosts import repository as hosts
from app.kernel.clock import utc_now
from app.kernel.config import Settings
from app.planning import snapshot
from app.planning.learned import learn
from app.planning.snapshot import provider_host
from app.runs import waiting
from app.runs.schemas import Blocker, RunEstimate
from app.runs.states import Status
from app.scheduling.forecast import forecast
from app.scheduling.planner import plan
from app.tables.cluster import Cluster
from app.tables.run import Run


async def of_new(
    session: AsyncSession, settings: Settings, run: Run, cluster: Cluster
) -> RunEstimate:
    """What is to be expected of a run that is being checked only.

    Puts it into the queue to see where it would stand there: its transaction is taken back.

    Args:
        session: the transaction, with the run in it.
        settings: the operator's settings.
        run: the run.
        cluster: where it would run.
    """
    learned = await learn(session, run)
    limit: float = run.request.get("max_run_duration_seconds") or inf
    shortest = min(learned.shortest_seconds, limit) if learned else 0.0
    longest = min(learned.longest_seconds, limit) if learned else limit
    price = float((await prices.current(session, settings)).get(cluster.vm_size, 0))
    per_second = price * run.node_count / 3600
    most: float = run.request.get("max_cost") or inf
    estimate = RunEstimate(
        takes_at_least_seconds=shortest,
        takes_at_most_seconds=_known(longest),
        costs_at_least=min(per_second * shortest, most),
        costs_at_most=_known(min(per_second * longest, most) if per_second else 0.0),
        currency=settings.currency,
        learned_from_runs=learned.runs if learned else 0,
        learned_from=learned.of if learned else "",
    )
    seen = [provider_host(row) for row in (await hosts.seen(session)).values()]
    if seen:
        run.status, run.queued_at = Status.QUEUED, func.clock_timestamp()
        await session.flush()
        loaded = await snapshot.load(session, settings, seen)
        decision = await asyncio.to_thread(plan, loaded.snapshot)
        mine = [item for item in decision.waiting if item.run_id == run.id]
        starts = await asyncio.to_thread(forecast, loaded.snapshot, decision.waiting, loaded.lasts)
        now = utc_now()
        if run.id in decision.placed:
            estimate.starts_after = estimate.starts_before = now
        elif run.id in starts:
            estimate.starts_after = moment(now, starts[run.id].shortest)
            estimate.starts_before = moment(now, starts[run.id].longest)
        if mine:
            found = waiting.why(mine[0], cluster.name)
            estimate.blocker = Blocker.model_validate(found)
    return estimate


def moment(now: datetime, seconds: float) -> datetime | None:
    """So many seconds later; None when nobody knows."""
    return None if seconds == inf else now + timedelta(seconds=seconds)


def _known(value: float) -> float | None:
    return None if value == inf else value
