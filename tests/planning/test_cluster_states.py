"""States of nodes and clusters, true when they are asked for."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.runs.test_faults import World, codes, fake_world, started
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        yield world


async def counts(world: World, name: str) -> dict[str, int]:
    """States that nodes of the cluster have now, without those that none has."""
    found: dict[str, Any] = (await world.api.client.get(f"clusters/{name}")).json()
    nodes = (await world.api.client.get(f"clusters/{name}/nodes")).json()["items"]
    states = {state: count for state, count in found["node_state_counts"].items() if count}
    assert found["current_node_count"] == sum(states.values()) == len(nodes)
    assert sorted(states) == sorted({node["state"] for node in nodes})
    return states


async def test_a_node_is_prepared_runs_and_is_idle(world: World) -> None:
    run_id = await world.submit()
    name = (await world.run(run_id))["cluster_name"]
    node = f"tw-{run_id}-a1-n0"
    await world.until(run_id, lambda _: node in world.fake.specs)
    assert await counts(world, name) == {"preparing": 1}
    await started(world, run_id)
    assert await counts(world, name) == {"running": 1}

    await world.say(node, "exited", processes=[{"exit_code": 0}], reason="exited")
    await world.say(node, "finished")
    await world.until(run_id, lambda run: run["status"] == "Completed")

    async def is_idle() -> bool:
        return await counts(world, name) == {"idle": 1}

    await until(is_idle)


@pytest.mark.fault(44)
async def test_a_cluster_that_is_made_smaller_lets_its_runs_end(world: World) -> None:
    name = f"smaller-{uuid.uuid4().hex[:8]}"
    address = f"clusters/{name}"
    body = {"vm_size": "SMALL", "max_nodes": 3}
    assert (await world.api.client.put(address, json=body)).status_code == 201
    running = await world.submit(cluster_name=name, node_count=2)
    names = [f"tw-{running}-a1-n{index}" for index in (0, 1)]
    await world.until(running, lambda _: all(name in world.fake.specs for name in names))
    waiting = await world.submit(cluster_name=name, node_count=2)
    await world.until(waiting, lambda run: codes(run) == ["no_capacity_now"])

    smaller = await world.api.client.patch(address, json={"max_nodes": 1})
    assert smaller.json()["allocation_state"] == "Resizing"
    assert smaller.json()["current_node_count"] == 2
    await world.until(waiting, lambda run: codes(run) == ["larger_than_cluster"])
    assert (await world.run(running))["status"] == "Queued"
    refused = await world.api.client.delete(address)
    assert (refused.status_code, refused.json()["code"]) == (409, "cluster_busy")

    for run_id in (waiting, running):
        assert (await world.api.client.post(f"runs/{run_id}/cancel")).status_code == 202

    async def has_shrunk() -> bool:
        found = (await world.api.client.get(address)).json()
        return bool(found["current_node_count"] <= 1 and found["allocation_state"] == "Steady")

    await until(has_shrunk)
    assert (await world.api.client.delete(address)).status_code == 202

    async def is_gone() -> bool:
        return (await world.api.client.get(address)).status_code == 404

    await until(is_gone)


@pytest.mark.fault(46)
async def test_a_cluster_that_is_being_removed_is_there_or_not(world: World) -> None:
    address = f"clusters/leaving-{uuid.uuid4().hex[:8]}"
    client = world.api.client
    for _ in range(10):
        put = await client.put(address, json={"vm_size": "SMALL", "max_nodes": 1})
        assert put.status_code in (200, 201, 409)
        assert (await client.delete(address)).status_code in (202, 204)
        found = {200}
        while found != {404}:
            # What a request meets in between would be raised here.
            answers = await asyncio.gather(*[client.get(address) for _ in range(10)])
            found = {answer.status_code for answer in answers}
            assert found <= {200, 404}
