"""Nodes that cannot be started: counted, shown, left, and their hosts left alone."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.kernel.clock import utc_now
from app.providers.base import Capacity, Host, ProviderError
from app.providers.fake.faults import Fault, Verb
from app.tables.host import HostFailure
from tests.runs.test_faults import World, fake_world
from tests.waiting import until
from workers.failed_starts import pause_seconds

pytestmark = pytest.mark.anyio
_SIZE = Capacity(cores=1e6, memory_bytes=2**60, gpus=0)
_FULL = ProviderError("the disk is full")


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        world.fake.machines = [Host("alpha", _SIZE), Host("beta", _SIZE)]
        yield world


async def cluster_of(world: World, run_id: str) -> dict[str, Any]:
    name = (await world.run(run_id))["cluster_name"]
    found: dict[str, Any] = (await world.api.client.get(f"clusters/{name}")).json()
    return found


def test_the_pause_doubles_up_to_half_a_minute() -> None:
    assert [pause_seconds(count) for count in (1, 2, 3, 6, 50)] == [1.0, 2.0, 4.0, 30.0, 30.0]


@pytest.mark.fault(45)
async def test_a_node_that_cannot_be_started_is_replaced_on_another_host(world: World) -> None:
    world.fake.faults.add(Fault(Verb.ENSURE, error=_FULL, times=None, node="*-a1-*"))
    async with world.api.database.session() as session:
        past = utc_now() - timedelta(seconds=1)
        session.add_all(
            HostFailure(name=name, count=3, error="before", retry_at=past)
            for name in ("alpha", "beta")
        )
    run_id = await world.submit(max_attempts=1)

    async def is_shown() -> bool:
        return bool((await cluster_of(world, run_id))["failed_starts"])

    await until(is_shown)
    error = (await cluster_of(world, run_id))["errors"][-1]
    assert (error["code"], error["message"]) == ("node_start_failed", "the disk is full")

    again = f"tw-{run_id}-a2-n0"
    await world.until(run_id, lambda _: again in world.fake.specs)
    first = (await world.api.client.get(f"runs/{run_id}/attempts")).json()["items"][0]
    assert first["outcome"] == "Preempted"
    assert "the disk is full" in first["error"]["message"]
    assert {first["nodes"][0]["host"], world.fake.specs[again].host} == {"alpha", "beta"}

    async def is_forgotten() -> bool:
        found = await cluster_of(world, run_id)
        return not found["failed_starts"] and not found["errors"]

    await until(is_forgotten)
    name = (await world.run(run_id))["cluster_name"]
    nodes = (await world.api.client.get(f"clusters/{name}/nodes")).json()["items"]
    assert [node["unusable_because"] for node in nodes] == [None]
    # The host that failed is left alone, longer than the last time; the other one is not.
    async with world.api.database.session() as session:
        row = (await session.execute(select(HostFailure))).scalar_one()
    assert (row.name, row.count) == (first["nodes"][0]["host"], 4)
    assert row.retry_at > utc_now() + timedelta(seconds=60)


async def test_a_host_that_is_left_alone_keeps_its_nodes_and_gets_no_new_ones(
    world: World,
) -> None:
    address = f"clusters/minimum-{uuid.uuid4().hex[:8]}"
    body = {"vm_size": "SMALL", "min_nodes": 2, "max_nodes": 4}
    assert (await world.api.client.put(address, json=body)).status_code == 201

    async def nodes() -> dict[str, str]:
        found = (await world.api.client.get(f"{address}/nodes")).json()["items"]
        return {node["id"]: node["host"] for node in found}

    async def are(count: int) -> bool:
        return len(await nodes()) == count

    await until(lambda: are(2))
    before = await nodes()
    assert set(before.values()) == {"alpha", "beta"}
    async with world.api.database.session() as session:
        later = utc_now() + timedelta(minutes=5)
        session.add(HostFailure(name="alpha", count=1, error="the disk is full", retry_at=later))

    assert (await world.api.client.patch(address, json={"min_nodes": 4})).status_code == 200

    await until(lambda: are(4))
    after = await nodes()
    assert before.items() <= after.items()
    assert sorted(after.values()) == ["alpha", "beta", "beta", "beta"]
