"""What becomes of a run that has to give up its nodes while something else happens to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import update

from app.providers.base import LOCAL
from app.runs import interruptions
from app.tables.run import Run, RunNode
from tests.runs.test_faults import World, fake_world, started
from workers.reconcile_run import RunReconciler
from workers.reconciler import Guard

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        yield world


async def evict(world: World, run_id: str) -> None:
    async with world.api.database.session() as session:
        because = "Its host is being drained."
        await interruptions.evict(session, run_id=run_id, host=LOCAL, because=because)


async def assert_begins_again(world: World, run_id: str) -> None:
    run = await world.until(run_id, lambda run: run["attempt"] == 2 or run["ended_at"])

    assert (run["attempt"], run["max_attempts"], run["error"]) == (2, 2, None)


async def test_a_run_that_is_evicted_while_it_is_looked_at_begins_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await world.submit(max_attempts=1)
    name = await started(world, run_id)
    step = RunReconciler._step

    async def evicted_before(self: RunReconciler, guard: Guard, run: Run) -> float | None:
        """The step of a reconciler that has read the run just before."""
        if run.attempt == 1:
            await evict(world, run_id)
        return await step(self, guard, run)

    monkeypatch.setattr(RunReconciler, "_step", evicted_before)

    world.fake.lose(name)

    await assert_begins_again(world, run_id)


async def test_a_run_that_comes_to_its_end_while_it_gives_way_completes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await world.submit(max_attempts=1)
    name = await started(world, run_id)

    async def ends_now(node: str, *, host: str = LOCAL) -> bool:
        await world.say(node, "exited", processes=[{"exit_code": 0}])
        await world.say(node, "finished")
        return False

    await evict(world, run_id)
    monkeypatch.setattr(world.fake, "is_alive", ends_now)

    run = await world.until(run_id, lambda run: run["attempt"] == 2 or run["ended_at"])
    assert (run["status"], run["attempt"]) == ("Completed", 1)
    assert name not in world.fake.specs


async def test_a_worker_that_died_after_it_had_removed_nodes_that_give_way_is_succeeded(
    world: World,
) -> None:
    run_id = await world.submit(max_attempts=1)
    name = await started(world, run_id)

    async with world.api.database.session() as session:
        await session.execute(update(RunNode).where(RunNode.name == name).values(removed=True))
        because = "Its host is being drained."
        await interruptions.evict(session, run_id=run_id, host=LOCAL, because=because)

    await assert_begins_again(world, run_id)
