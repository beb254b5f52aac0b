"""All nodes of a run start or none does, and nothing is left of those that had."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, update

from app.providers.base import ProviderError
from app.providers.fake.faults import Fault, Verb
from app.tables.metric import MetricSummary
from tests.runs.test_faults import World, fake_world
from tests.waiting import until

pytestmark = pytest.mark.anyio
NODES = ("n0", "n1", "n2")


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        yield world


async def launched(world: World, **values: Any) -> tuple[str, list[str]]:
    """A run on three nodes that the provider has started; its id, and their names."""
    run_id = await world.submit(node_count=len(NODES), **values)
    names = [f"tw-{run_id}-a1-{node}" for node in NODES]
    await world.until(run_id, lambda _: set(names) <= set(world.fake.specs))
    return run_id, names


async def told(world: World, name: str, path: str, **body: Any) -> dict[str, Any]:
    """What a node's runner is told to do when it reports something."""
    answer = await world.api.client.post(
        f"http://api/v1/node/{path}",
        json=body,
        headers={"Authorization": f"Bearer {world.fake.specs[name].token}"},
    )
    found: dict[str, Any] = answer.json()
    return found


async def assert_nothing_is_left(world: World, run_id: str) -> None:
    async def is_clean() -> bool:
        held = [*await world.fake.list_names(), *await world.fake.list_networks()]
        return not any(run_id in name for name in held)

    await until(is_clean)
    run = await world.run(run_id)
    address = f"clusters/{run['cluster_name']}"
    cluster = (await world.api.client.get(address)).json()
    assert cluster["node_state_counts"]["running"] == 0
    leaks = (await world.api.client.get("http://api/v1/leaks")).json()["items"]
    assert not any(run_id in str(leak) for leak in leaks)


async def test_one_node_that_cannot_be_prepared_undoes_all(world: World) -> None:
    run_id, (first, second, third) = await launched(world)
    assert (await told(world, first, "events", event="ready"))["command"] == "continue"
    message = "input 'digits': t10k-images is not what it was"

    await told(world, second, "events", event="failed", code="digest_mismatch", message=message)

    for name in (first, third):
        stop = await told(world, name, "heartbeat", phase="ready")
        assert (stop["command"], stop["reason"]) == ("stop", "peer_failed")
        assert stop["because"] == "node 1 failed"
        assert await world.say(name, "exited", processes=[], reason="peer_failed") == 200
        assert await world.say(name, "finished") == 200
    run = await world.until(run_id, lambda run: run["status"] == "Failed")
    error = run["error"]
    assert (error["code"], error["message"]) == ("digest_mismatch", message)
    assert (error["node"], run["attempt"], run["started_at"]) == ("node 1", 1, None)
    await assert_nothing_is_left(world, run_id)


@pytest.mark.fault(45)
async def test_a_node_that_the_provider_never_starts_is_named_at_the_deadline(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(
        tmp_path, postgres_url, broker_url, gpus=0, gang_start_timeout_seconds=8
    ) as world:
        away = ProviderError("the engine of node 2 is away")
        world.fake.faults.add(Fault(Verb.ENSURE, error=away, times=None, node="*-n2"))
        run_id = await world.submit(node_count=3)
        names = [f"tw-{run_id}-a1-{node}" for node in NODES[:2]]
        await world.until(run_id, lambda _: set(names) <= set(world.fake.specs))
        for name in names:
            assert (await told(world, name, "events", event="ready"))["command"] == "continue"

        async def are_told_to_stop() -> bool:
            answers = [await told(world, name, "heartbeat", phase="ready") for name in names]
            assert not any(answer["command"] == "start" for answer in answers)
            return all(answer["command"] == "stop" for answer in answers)

        await until(are_told_to_stop)
        for name in names:
            await world.say(name, "exited", processes=[], reason="peer_failed")
            await world.say(name, "finished")
        run = await world.until(run_id, lambda run: run["status"] == "Failed")
        assert run["error"]["code"] == "gang_not_ready"
        assert run["error"]["message"].endswith("missing: node 2.")
        assert run["started_at"] is None
        await assert_nothing_is_left(world, run_id)


async def test_what_is_logged_through_the_api_is_heard_as_well(world: World) -> None:
    run_id = await world.submit(silence_timeout_seconds=30)
    name = f"tw-{run_id}-a1-n0"
    await world.until(run_id, lambda _: name in world.fake.specs)
    await log_loss(world, run_id, seq=0)
    await make_old(world, run_id)
    await log_loss(world, run_id, seq=1)
    for event in ("ready", "started"):
        assert await world.say(name, event) == 200
    quiet = {"processes": [900.0], "node": 900.0}
    looks_before = world.fake.faults.calls[Verb.IS_ALIVE]

    async def has_been_looked_at() -> bool:
        beat = await told(world, name, "heartbeat", phase="running", quiet=quiet)
        assert beat["command"] == "continue"
        return world.fake.faults.calls[Verb.IS_ALIVE] > looks_before + 1

    await until(has_been_looked_at)
    await make_old(world, run_id)

    async def is_ended() -> bool:
        beat = await told(world, name, "heartbeat", phase="running", quiet=quiet)
        return (beat["command"], beat["reason"]) == ("stop", "silent")

    await until(is_ended)
    report = {"exit_code": None, "signal": 15, "stopped": True}
    await world.say(name, "exited", processes=[report], reason="silent")
    await world.say(name, "finished")
    run = await world.until(run_id, lambda run: run["status"] == "Failed")
    assert (run["error"]["code"], run["error"]["rank"]) == ("silent", 0)


async def log_loss(world: World, run_id: str, *, seq: int) -> None:
    values = [{"name": "loss", "value": 1.0}]
    body = {"source": "me", "first_seq": seq, "values": values}
    answer = await world.api.client.post(f"runs/{run_id}/metrics", json=body)
    assert answer.status_code == 201


async def make_old(world: World, run_id: str) -> None:
    """Let the metrics of the run be of a minute ago."""
    async with world.api.database.session() as session:
        long_ago = func.clock_timestamp() - timedelta(minutes=1)
        of_run = update(MetricSummary).where(MetricSummary.run_id == run_id)
        await session.execute(of_run.values(last_at=long_ago))


async def test_a_heartbeat_that_waits_is_answered_when_a_peer_fails(world: World) -> None:
    _, names = await launched(world)
    for event in ("ready", "started"):
        for name in names:
            assert await world.say(name, event) == 200
    waiting = asyncio.create_task(
        told(world, names[0], "heartbeat", phase="running", wait_seconds=60)
    )

    beat = await told(world, names[1], "heartbeat", phase="running", wait_seconds=0.05)
    assert beat["command"] == "continue"  # nothing has happened by then
    assert not waiting.done()
    report = {"place": 0, "exit_code": 3, "signal": None, "stopped": False}
    await told(world, names[2], "events", event="process_ended", **report)

    stop = await asyncio.wait_for(waiting, timeout=20)
    assert (stop["command"], stop["reason"]) == ("stop", "peer_failed")


async def test_a_ready_node_hears_at_once_that_all_are_ready(world: World) -> None:
    run_id, names = await launched(world, distribution={"type": "multi_worker"})
    place = {"address": "127.20.0.1", "ports": [2222]}
    for name in names[:2]:
        assert (await told(world, name, "events", event="ready", **place))["command"] == "continue"
    waiting = asyncio.create_task(
        told(world, names[0], "heartbeat", phase="ready", wait_seconds=60)
    )
    beat = await told(world, names[1], "heartbeat", phase="ready", wait_seconds=0.05)
    assert beat["command"] == "continue"

    start = await told(world, names[2], "events", event="ready", **place)

    assert start["command"] == "start"
    assert (await asyncio.wait_for(waiting, timeout=20))["command"] == "start"
    assert (await world.run(run_id))["status"] == "Queued"


async def test_a_node_is_told_which_peers_it_has_to_reach(world: World) -> None:
    _, names = await launched(world, distribution={"type": "multi_worker"})
    for number, name in enumerate(names):
        place = {"address": f"127.20.0.{number + 1}", "ports": [2222 + number]}
        start = await told(world, name, "events", event="ready", **place)
    assert start["peers"] == [
        {"node": 0, "address": "127.20.0.1", "port": 2222},
        {"node": 1, "address": "127.20.0.2", "port": 2223},
    ]
    report = {"exit_code": 0, "signal": None, "stopped": False}
    await world.say(names[0], "started")
    await world.say(names[0], "exited", processes=[report])

    again = await told(world, names[2], "heartbeat", phase="ready")

    assert [peer["node"] for peer in again["peers"]] == [1]
