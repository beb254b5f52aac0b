"""What many runs and many abandoned streams leave behind in an API and a worker: nothing.

``python -m tests.soak.bounds --runs 10000 --streams 1000``. Both live in this process, on a real
database, with a provider of nodes that only pretends, so that it is their memory which is measured.
"""

import asyncio
import gc
import json
import socket
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer
import uvicorn
from sqlalchemy import text

from app.embedded.broker import BrokerServer
from app.embedded.postgres import PostgresServer
from app.embedded.sockets import socket_folder
from tests.conftest import FAST_SETTINGS, migrated, running
from tests.databases import keep_template
from tests.runs.test_faults import World, fake_world
from tests.waiting import until

MOST_GROWTH_BYTES = 32 * 1024 * 1024
"""So much more memory at the end than half-way is the allocator's, not a leak."""
_AT_ONCE = 10
_STREAMS_AT_ONCE = 10
_LOOKS = 10
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Usage:
    """What the process has in use."""

    memory_bytes: int
    descriptors: int
    tasks: int
    connections: int


async def usage(world: World) -> Usage:
    """What is in use now, after a moment's rest."""
    gc.collect()
    process = psutil.Process()
    async with world.api.database.session() as session:
        count = await session.scalar(
            text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        )
    return Usage(
        memory_bytes=process.memory_info().rss,
        descriptors=process.num_fds(),
        tasks=len(asyncio.all_tasks()),
        connections=int(count or 0),
    )


async def one_run(world: World, template: dict[str, object]) -> None:
    """A run from its submission to its end."""
    answer = await world.api.client.post("runs", json=template)
    await finish(world, str(answer.raise_for_status().json()["id"]))


async def finish(world: World, run_id: str) -> None:
    """Let a run's only node start, work and end."""
    name = f"tw-{run_id}-a1-n0"

    async def is_placed() -> bool:
        return name in world.fake.specs

    async def is_completed() -> bool:
        return bool((await world.run(run_id))["status"] == "Completed")

    await until(is_placed, seconds=120)
    for event in ("ready", "started"):
        assert await world.say(name, event) == 200
    assert await world.say(name, "exited", processes=[{"exit_code": 0}]) == 200
    assert await world.say(name, "finished") == 200
    await until(is_completed, seconds=120)


async def many_runs(world: World, count: int) -> list[Usage]:
    """So many runs, some at once; what was in use after each tenth of them."""
    environment = {"pip_packages": ["none==1"]}
    first = await world.run(await world.submit(environment=environment))
    template = {
        "experiment_name": "bounds",
        "snapshot_id": first["snapshot_id"],
        "cluster_name": first["cluster_name"],
        "entry_script": "train.py",
        "environment": environment,
    }
    await finish(world, str(first["id"]))
    body = {"vm_size": "SMALL", "max_nodes": _AT_ONCE}
    cluster = await world.api.client.put(f"clusters/{first['cluster_name']}", json=body)
    cluster.raise_for_status()
    found = []
    limit = asyncio.Semaphore(_AT_ONCE)

    async def limited() -> None:
        async with limit:
            await one_run(world, template)

    for _ in range(_LOOKS):
        await asyncio.gather(*(limited() for _ in range(count // _LOOKS)))
        found.append(await usage(world))
        # What takes hours says meanwhile how it is.
        typer.echo(json.dumps(asdict(found[-1])), err=True)
    return found


async def abandon_streams(world: World, address: str, count: int) -> None:
    """Open streams of a run that goes on, and vanish from all of them without a word."""
    run_id = await world.submit()
    host, _, port = address.removeprefix("http://").partition(":")
    path = f"/v1/workspaces/{world.api.workspace}/runs/{run_id}/events"
    head = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n"
        f"Authorization: {world.api.client.headers['authorization']}\r\n\r\n"
    )

    async def one() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200"), "the stream is refused"
        await reader.readuntil(b"stream of events")
        peer: socket.socket = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()

    for _ in range(0, count, _STREAMS_AT_ONCE):
        await asyncio.gather(*(one() for _ in range(min(count, _STREAMS_AT_ONCE))))


async def measure(world: World, *, runs: int, streams: int) -> dict[str, object]:
    """Do it all and say what is left; `problems` is empty if nothing is.

    Args:
        world: an installation.
        runs: how many.
        streams: how many.
    """
    async with _served(world) as address:
        await abandon_streams(world, address, min(streams, _STREAMS_AT_ONCE))
        looks = await many_runs(world, runs)
        before = looks[-1]
        await abandon_streams(world, address, streams)

        async def is_back() -> bool:
            now = await usage(world)
            return now.descriptors <= before.descriptors and now.tasks <= before.tasks

        problems = []
        try:
            await until(is_back, seconds=30)
        except AssertionError:
            problems.append("descriptors or tasks of abandoned streams stay")
        after = await usage(world)
    half = looks[_LOOKS // 2 - 1]
    for name in ("descriptors", "tasks"):
        if getattr(before, name) > getattr(half, name) + _AT_ONCE:
            problems.append(f"{name} grow with runs")
    most = 2 * world.api.settings.database_pool_size + 20
    if max(look.connections for look in (*looks, after)) > most:
        problems.append(f"more than {most} connections")
    for name, grown in (
        ("runs", before.memory_bytes - half.memory_bytes),
        ("streams", after.memory_bytes - before.memory_bytes),
    ):
        if grown > MOST_GROWTH_BYTES:
            problems.append(f"memory grows by {grown} bytes with {name}")
    return {
        "runs": runs,
        "streams": streams,
        "memory_bytes": [look.memory_bytes for look in looks],
        "half_way": asdict(half),
        "after_runs": asdict(before),
        "after_streams": asdict(after),
        "problems": problems,
    }


@asynccontextmanager
async def _served(world: World) -> AsyncIterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(world.api.app, lifespan="off", log_level="warning", access_log=False)
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[str, str]]:
    """A migrated database and a broker; their addresses."""
    postgres = PostgresServer(
        data_dir=folder / "postgres",
        socket_dir=socket_folder(folder) / "postgres",
        settings=FAST_SETTINGS,
    )
    postgres.prepare()
    broker = BrokerServer(socket_path=socket_folder(folder) / "broker.sock")
    with (
        running(postgres.spec(), is_ready=postgres.is_ready_now),
        running(broker.spec(), is_ready=lambda: asyncio.run(broker.is_ready())),
    ):
        migrated(postgres.url())
        asyncio.run(keep_template(postgres.url()))
        yield postgres.url(), broker.url


def main(
    *,
    runs: Annotated[int, typer.Option(help="How many, at least 10.", min=10)] = 10_000,
    streams: Annotated[int, typer.Option(help="How many.", min=1)] = 1000,
) -> None:
    """Run it; the exit status is 1 if something stays."""

    async def work(folder: Path, database: str, broker: str) -> dict[str, object]:
        async with fake_world(folder, database, broker, gpus=0, rate_limits=NO_LIMITS) as world:
            return await measure(world, runs=runs, streams=streams)

    with tempfile.TemporaryDirectory(prefix="bounds-") as name:
        folder = Path(name)
        with _servers(folder) as (database, broker):
            found = asyncio.run(work(folder / "data", database, broker))
    typer.echo(json.dumps(found, indent=2))
    if found["problems"]:
        sys.exit(1)


NO_LIMITS = {"read": "", "write": "", "submit": "", "script": ""}
"""Whoever measures asks as often as it can."""

if __name__ == "__main__":
    typer.run(main)
