"""Nodes of a cluster on several hosts: where they go, and what becomes of them with their host."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app.providers.base import Capacity, Host, HostLost, HostState, ImageMissing
from app.providers.fake.faults import Fault, Verb
from app.tables.image import Image
from tests.runs.test_faults import World, fake_world
from tests.waiting import until
from workers.collect_leaks import LeakCollector
from workers.watch_hosts import HostWatcher

pytestmark = pytest.mark.anyio
_BIG = Capacity(cores=1e6, memory_bytes=2**60, gpus=0)


@pytest.fixture
def alpha() -> Host:
    return Host("alpha", _BIG, address="10.0.0.1", labels={"rack": "7"})


@pytest.fixture
def beta() -> Host:
    return Host("beta", _BIG, address="10.0.0.2")


@pytest.fixture
async def world(
    tmp_path: Path, postgres_url: str, broker_url: str, alpha: Host, beta: Host
) -> AsyncIterator[World]:
    async with fake_world(
        tmp_path, postgres_url, broker_url, gpus=0, heartbeat_timeout_seconds=0.5
    ) as world:
        world.fake.machines = [alpha, beta]
        yield world


async def placed(world: World, run_id: str, *, attempt: int) -> dict[str, str]:
    """Wait for the two nodes of an attempt; their hosts."""
    names = [f"tw-{run_id}-a{attempt}-n{index}" for index in (0, 1)]
    await world.until(run_id, lambda _: all(name in world.fake.specs for name in names))
    return {name: world.fake.specs[name].host for name in names}


async def start(world: World, names: list[str], run_id: str) -> None:
    for event in ("ready", "started"):
        for name in names:
            assert await world.say(name, event) == 200
    # Nobody sends heartbeats here.
    await world.until(run_id, lambda run: run["status"] in ("Running", "NotResponding"))


def down(host: Host) -> Host:
    return replace(host, state=HostState.DOWN, detail="nobody hears it")


async def attempts_of(world: World, run_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await world.api.client.get(f"runs/{run_id}/attempts")).json()[
        "items"
    ]
    return items


async def test_a_lost_host_loses_its_nodes_and_the_run_begins_again_elsewhere(
    world: World, alpha: Host, beta: Host
) -> None:
    run_id = await world.submit(node_count=2)
    hosts = await placed(world, run_id, attempt=1)
    assert sorted(hosts.values()) == [alpha.name, beta.name]
    await start(world, list(hosts), run_id)

    world.fake.machines = [alpha, down(beta)]

    assert set((await placed(world, run_id, attempt=2)).values()) == {alpha.name}
    first, second = await attempts_of(world, run_id)
    lost = next(node for node in first["nodes"] if node["host"] == beta.name)
    assert first["outcome"] == "Lost"
    assert first["error"]["code"] == "node_lost"
    assert first["error"]["host"] == beta.name
    assert first["error"]["node"] == f"node {lost['node_index']}"
    assert f"{beta.name} is down" in first["error"]["message"]
    assert [node["host"] for node in second["nodes"]] == [alpha.name, alpha.name]
    assert lost["name"] in world.fake.specs, "what is there cannot be removed now"

    world.fake.machines = [alpha, beta]
    collector = LeakCollector(world.api.database, world.fake, grace_seconds=0)
    await collector.look()
    await collector.look()

    assert lost["name"] not in world.fake.specs
    assert f"tw-{run_id}-a2-n0" in world.fake.specs


async def test_a_node_that_reports_is_not_lost_with_its_host(
    tmp_path: Path, postgres_url: str, broker_url: str, alpha: Host, beta: Host
) -> None:
    async with fake_world(
        tmp_path, postgres_url, broker_url, gpus=0, heartbeat_timeout_seconds=10
    ) as world:
        world.fake.machines = [alpha, beta]
        await assert_stays_while_it_reports(world, alpha, beta)


async def assert_stays_while_it_reports(world: World, alpha: Host, beta: Host) -> None:
    run_id = await world.submit(node_count=2)
    hosts = await placed(world, run_id, attempt=1)
    await start(world, list(hosts), run_id)
    world.fake.machines = [alpha, down(beta)]
    looks_before = world.fake.faults.calls[Verb.IS_ALIVE]

    async def has_been_looked_at() -> bool:
        for name in hosts:
            answer = await world.api.client.post(
                "http://api/v1/node/heartbeat",
                json={"phase": "running"},
                headers={"Authorization": f"Bearer {world.fake.specs[name].token}"},
            )
            assert answer.status_code == 200, answer.text
        return world.fake.faults.calls[Verb.IS_ALIVE] > looks_before + 2

    await until(has_been_looked_at)

    assert (await world.run(run_id))["attempt"] == 1


async def test_a_drained_host_takes_no_nodes_and_is_shown(
    world: World, alpha: Host, beta: Host
) -> None:
    world.fake.machines = [alpha, replace(beta, state=HostState.DRAINED, detail="drained by hand")]
    run_id = await world.submit(node_count=2)

    assert set((await placed(world, run_id, attempt=1)).values()) == {alpha.name}
    await HostWatcher(world.api.database, world.fake).look()

    run = await world.run(run_id)
    cluster = (await world.api.client.get(f"clusters/{run['cluster_name']}")).json()
    assert cluster["errors"] == [{"code": "host_drained", "message": "Host beta: drained by hand"}]
    shown = {
        h["name"]: h for h in (await world.api.client.get("http://api/v1/hosts")).json()["items"]
    }
    assert (shown[alpha.name]["state"], shown[beta.name]["state"]) == ("ready", "drained")
    assert shown[beta.name]["detail"] == "drained by hand"
    assert shown[alpha.name]["labels"] == {"rack": "7"}
    assert shown[alpha.name]["address"] == "10.0.0.1"
    assert shown[alpha.name]["running_nodes"] >= 2
    assert shown[beta.name]["cluster_nodes"] == 0


async def test_a_host_that_is_lost_before_the_start_begins_another_attempt(
    world: World, alpha: Host, beta: Host
) -> None:
    error = HostLost("Engine beta is down.")
    world.fake.faults.add(Fault(Verb.ENSURE, error=error, node="*-n1"))

    run_id = await world.submit(node_count=2)

    await placed(world, run_id, attempt=2)
    first, _ = await attempts_of(world, run_id)
    assert first["error"]["node"] == "node 1"
    assert "Engine beta is down." in first["error"]["message"]


async def test_a_host_that_is_lost_while_its_node_waits_for_an_image_begins_another_attempt(
    world: World, alpha: Host, beta: Host
) -> None:
    world.fake.machines = [replace(beta, state=HostState.DRAINED)]
    run_id = await world.submit()
    async with world.api.database.session() as session:
        image = Image.id == (await world.run(run_id))["image_hash"]
        await session.execute(update(Image).where(image).values(reference="gone"))
    error = ImageMissing("It cannot be pulled.", reference="gone")
    world.fake.faults.add(Fault(Verb.ENSURE, error=error))
    world.fake.machines = [beta]
    await world.until(
        run_id, lambda run: any(b["code"] == "image_building" for b in run["blockers"])
    )

    world.fake.machines = [alpha, down(beta)]

    await world.until(run_id, lambda run: run["attempt"] == 2)
    first, second = await attempts_of(world, run_id)
    assert first["error"]["host"] == "beta"
    assert "nobody hears it" in first["error"]["message"]
    assert [node["host"] for node in second["nodes"]] == ["alpha"]


async def test_a_run_on_a_lost_host_can_be_canceled(world: World, alpha: Host, beta: Host) -> None:
    run_id = await world.submit()
    name = f"tw-{run_id}-a1-n0"
    await world.until(run_id, lambda _: name in world.fake.specs)
    await start(world, [name], run_id)
    await world.api.client.post(f"runs/{run_id}/cancel")
    world.fake.machines = [down(alpha), down(beta)]

    await world.until(run_id, lambda run: run["status"] == "Canceled")


async def test_idle_nodes_leave_a_host_that_takes_no_more(
    world: World, alpha: Host, beta: Host
) -> None:
    answer = await world.api.client.put(
        "clusters/steady", json={"vm_size": "SMALL", "min_nodes": 2, "max_nodes": 2}
    )
    assert answer.status_code == 201

    async def hosts() -> list[str]:
        items = (await world.api.client.get("clusters/steady/nodes")).json()["items"]
        return sorted(node["host"] for node in items)

    async def are_on_both() -> bool:
        return await hosts() == [alpha.name, beta.name]

    await until(are_on_both)
    watcher = HostWatcher(world.api.database, world.fake)
    await watcher.look()
    world.fake.machines = [alpha, down(beta)]
    await watcher.look()

    async def have_moved() -> bool:
        return await hosts() == [alpha.name, alpha.name]

    await until(have_moved)
