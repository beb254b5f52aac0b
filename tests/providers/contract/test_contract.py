"""What every provider must do, whatever its nodes are made of."""

import asyncio

import pytest

from app.providers.base import LOCAL
from tests.providers.contract.conftest import World
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def test_a_node_does_its_whole_work(world: World) -> None:
    script = (
        "import os\n"
        "print('hello from', os.environ['TRAINWRIGHT_NODE'])\n"
        "open('outputs/model.txt', 'w').write('weights')\n"
    )
    spec = world.spec(script=script)

    await world.provider.ensure(spec)

    await asyncio.to_thread(world.api.event, "finished")
    assert world.api.text() == f"hello from {spec.name}\n"
    assert world.api.output("outputs/model.txt") == b"weights"
    await world.ended(spec.name)
    assert await world.provider.list_names() == [spec.name]


@pytest.mark.fault(4)
async def test_ensuring_twice_starts_one_node(world: World) -> None:
    spec = world.spec()
    await world.provider.ensure(spec)
    await asyncio.to_thread(world.api.event, "started")

    await world.provider.ensure(spec)

    assert await world.is_alive(spec.name)
    assert await world.provider.list_names() == [spec.name]
    assert [event["event"] for event in world.api.events] == ["ready", "started"]


async def test_ensuring_at_once_starts_one_node(world: World) -> None:
    spec = world.spec()

    await asyncio.gather(*(world.provider.ensure(spec) for _ in range(4)))

    await asyncio.to_thread(world.api.event, "started")
    assert await world.provider.list_names() == [spec.name]
    assert [event["event"] for event in world.api.events] == ["ready", "started"]


async def test_stopping_is_orderly(world: World) -> None:
    spec = world.spec()
    await world.provider.ensure(spec)
    await asyncio.to_thread(world.api.event, "started")

    await world.provider.stop(spec.name, host=world.host)

    await asyncio.to_thread(world.api.event, "finished")
    assert world.api.event("exited")["reason"] == "stopped"
    await world.ended(spec.name)


async def test_removing_ends_what_runs_and_leaves_nothing(world: World) -> None:
    spec = world.spec()
    await world.provider.ensure(spec)
    await asyncio.to_thread(world.api.event, "started")

    await world.provider.remove(spec.name, host=world.host)

    assert not await world.is_alive(spec.name)
    assert await world.provider.list_names() == []


async def test_what_listens_on_a_node_is_reached_at_its_address(world: World) -> None:
    script = (
        "import http.server, threading\n"
        "server = http.server.HTTPServer(('', 0), http.server.SimpleHTTPRequestHandler)\n"
        "print(server.server_address[1], flush=True)\n"
        "server.serve_forever()\n"
    )
    # Whatever is reached from here is beside the worker.
    world.host = LOCAL
    spec = world.spec(script=script)
    await world.provider.ensure(spec)
    address = await world.provider.address(spec.name)
    assert address is not None

    async def is_listening() -> bool:
        return world.api.text().endswith("\n")

    await until(is_listening)
    port = int(world.api.text())

    reader, writer = await asyncio.open_connection(address, port)

    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"200"
    writer.close()
    await world.provider.remove(spec.name, host=world.host)
    assert await world.provider.address(spec.name) is None


async def test_what_is_gone_already_is_success(world: World) -> None:
    await world.provider.stop("tw-nobody-a1-n0", host=world.host)
    await world.provider.remove("tw-nobody-a1-n0", host=world.host)
    await world.provider.remove("tw-nobody-a1-n0")
    assert not await world.is_alive("tw-nobody-a1-n0")


async def test_a_node_that_was_removed_can_be_made_again(world: World) -> None:
    spec = world.spec(script="print('once')")
    await world.provider.ensure(spec)
    await asyncio.to_thread(world.api.event, "finished")
    await world.provider.remove(spec.name, host=world.host)
    world.api.events.clear()

    await world.provider.ensure(spec)

    await asyncio.to_thread(world.api.event, "finished")


async def test_capacity_is_the_hosts(world: World) -> None:
    capacity = await world.provider.capacity()

    assert capacity.cores >= 1
    assert capacity.memory_bytes > 0


async def test_there_is_a_host_that_takes_nodes(world: World) -> None:
    hosts = {host.name: host for host in await world.provider.hosts()}

    assert hosts[world.host].state == "ready"
    assert hosts[world.host].capacity.cores >= 1
    assert hosts[world.host].capacity.memory_bytes > 0
