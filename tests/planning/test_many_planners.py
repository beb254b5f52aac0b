"""Planners that are started at once on one database: what one places, no other does."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.kernel.broker import BrokerHints
from app.kernel.db import Database
from app.kernel.signals import Signals
from app.tables.cluster import ClusterNode
from app.tables.cost import Charge
from app.tables.run import Attempt, RunNode
from tests.runs.test_faults import World, codes, fake_world
from tests.waiting import until
from workers.context import WorkerContext
from workers.engine import Engine
from workers.reconcile_planning import PlanningReconciler

pytestmark = pytest.mark.anyio
_MOST_NODES = 5


@asynccontextmanager
async def another_planner(world: World) -> AsyncIterator[None]:
    """A planner with connections of its own, which looks for work without a pause."""
    state, signals = world.api.app.state, Signals()
    database = Database(state.settings, BrokerHints(state.settings, signals))
    context = WorkerContext(
        settings=state.settings,
        database=database,
        objects=state.objects,
        signals=signals,
        signer=state.signer,
        provider=world.fake,
    )
    engine = Engine(database, [PlanningReconciler(context)], lease_seconds=1.0, poll_seconds=0.01)
    polling = asyncio.create_task(engine.poll_forever())
    try:
        yield
    finally:
        polling.cancel()
        with suppress(asyncio.CancelledError):
            await polling
        await engine.close()
        await database.close()


@pytest.mark.timeout(300)
@pytest.mark.fault(8, 44)
async def test_three_planners_at_once_place_nothing_twice_and_nothing_over_capacity(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        name = f"c-{uuid.uuid4().hex[:8]}"
        body = {"vm_size": "SMALL", "max_nodes": _MOST_NODES}
        assert (await world.api.client.put(f"clusters/{name}", json=body)).status_code == 201
        async with AsyncExitStack() as planners:
            for _ in range(2):
                await planners.enter_async_context(another_planner(world))
            counts = [1, 2, 3] * 3
            runs = await asyncio.gather(
                *(world.submit(cluster_name=name, node_count=count) for count in counts)
            )
            wanted = dict(zip(runs, counts, strict=True))

            async def is_settled() -> bool:
                await at_most_once(world, wanted)
                shown = [await world.run(run_id) for run_id in runs]
                placed = sum(wanted[run["id"]] for run in shown if run["attempt"])
                left = [run for run in shown if not run["attempt"]]
                # Nobody starts while the first of those who wait needs more than is left.
                return placed > _MOST_NODES - max(counts) and all(
                    codes(run) in (["no_capacity_now"], ["behind_run"]) for run in left
                )

            await until(is_settled, seconds=120)
            await at_most_once(world, wanted)


async def at_most_once(world: World, wanted: dict[str, int]) -> None:
    """See that every run has all of its nodes or none, by one attempt, and no node has two runs."""
    async with world.api.database.session() as session:

        async def of_runs(*columns: Any) -> list[Any]:
            statement = select(*columns).where(columns[0].in_(wanted))
            return list(await session.execute(statement))

        nodes = await of_runs(ClusterNode.run_id, ClusterNode.id)
        attempts = await of_runs(Attempt.run_id, Attempt.number)
        given = await of_runs(RunNode.run_id, RunNode.cluster_node_id)
        charges = await of_runs(Charge.run_id, Charge.attempt)
    assert len(nodes) <= _MOST_NODES
    for rows in (attempts, charges):
        assert all(number == 1 for _, number in rows)
        assert len({run_id for run_id, _ in rows}) == len(rows)
    assert len({node_id for _, node_id in given}) == len(given)
    for run_id, count in Counter(run_id for run_id, _ in given).items():
        assert count == wanted[run_id]
    for run_id, count in Counter(run_id for run_id, _ in nodes).items():
        assert count == wanted[run_id]
