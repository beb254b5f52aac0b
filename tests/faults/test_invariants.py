"""The reader of invariants sees nothing wrong where nothing is, and each breach where one is."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.faults.invariants import FOLLOWS, Installation, breaches
from tests.runs.test_faults import World, fake_world, started

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        yield world


async def completed(world: World) -> tuple[str, Installation]:
    """A run of two attempts that has completed, and where its history is."""
    run_id = await world.submit()
    world.fake.lose(await started(world, run_id))
    name = await started(world, run_id, attempt=2)
    await world.say(name, "exited", processes=[{"exit_code": 0}])
    await world.say(name, "finished")
    await world.until(run_id, lambda run: run["status"] == "Completed")
    url = world.api.settings.database_url.get_secret_value()
    return run_id, Installation(url, world.api.objects.root)


async def found(installation: Installation, **more: Any) -> list[str]:
    return await asyncio.to_thread(breaches, installation, **more)


async def test_nothing_is_found_where_nothing_is_wrong(world: World) -> None:
    run_id, installation = await completed(world)

    assert await found(installation) == []
    assert await found(Installation(installation.database_url, answered=[("key", run_id)])) == []


async def test_a_run_that_nobody_looks_at_is_found(world: World) -> None:
    _, installation = await completed(world)
    run_id = await world.submit()
    await started(world, run_id)

    assert await found(installation, is_over=False) == []
    assert await found(installation) == [f"I1: run {run_id} is Running and should have ended"]


FALSE = {
    "UPDATE attempts SET ended_at = NULL WHERE number = 1": "I2: attempt 1 of Completed run",
    "INSERT INTO attempts (run_id, number, ended_at) SELECT run_id, 4, now() FROM attempts"
    " WHERE number = 1": "I2: run",
    'UPDATE run_events SET data = \'{"from": "Completed", "to": "Failed"}\''
    " WHERE data->>'to' = 'Completed'": "I3: run",
    'UPDATE run_events SET data = \'{"from": "NotResponding", "to": "Completed"}\''
    " WHERE data->>'to' = 'Queued' AND seq > 5": "from NotResponding to Completed",
    "UPDATE run_events SET seq = 99 WHERE seq = 2": "I4: event 3 of run",
    "UPDATE runs SET status = 'Canceled'": "its events say",
    "UPDATE run_nodes SET removed = false": "I5: node",
}
FALSE_FILES = {
    "UPDATE run_files SET size_bytes = size_bytes + 1": "is not what was recorded",
    "UPDATE run_files SET sha256 = repeat('0', 64)": "has no bytes",
}


async def test_every_falsified_history_is_found(world: World) -> None:
    _, installation = await completed(world)

    for statement, words in (FALSE_FILES | FALSE).items():
        async with world.api.database.session() as session:
            changed = await session.execute(text(statement))
            assert changed.rowcount, statement  # type: ignore[attr-defined]
        said = await found(installation)
        assert any(words in breach for breach in said), (statement, said)


async def test_one_key_with_two_runs_is_found(world: World) -> None:
    run_id, installation = await completed(world)

    said = await found(
        Installation(installation.database_url, answered=[("key", run_id), ("key", "run_none")])
    )

    assert [breach[:3] for breach in said] == ["I7:", "I7:"]


def test_the_states_written_down_are_closed() -> None:
    assert set.union(*FOLLOWS.values()) <= FOLLOWS.keys()
