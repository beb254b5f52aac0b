"""The embedded stack: database and broker, migrations, API and worker, under one supervisor."""

import asyncio
import ipaddress
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.embedded.children import ChildSpec
from app.embedded.claims import listen, locked
from app.embedded.layout import Layout, data_folder
from app.embedded.node_door import node_door
from app.embedded.supervisor import Supervisor

_PROBE_SECONDS = 5.0
# -P: the working folder, which is the data folder, is no place to import from.
_PYTHON = (sys.executable, "-P", "-m")


@dataclass(frozen=True, kw_only=True)
class Started:
    """What the person at the terminal has to know once the stack is up."""

    address: str
    data_dir: Path
    first_token: str | None
    grpc_address: str | None


@dataclass(frozen=True)
class _Doors:
    """Where the API listens: for people, and where nodes are containers, for these."""

    host: str
    listener: socket.socket
    for_nodes: socket.socket | None
    grpc_port: int

    @property
    def numbers(self) -> tuple[int, ...]:
        """The descriptors that the API inherits."""
        sockets = (self.listener, self.for_nodes)
        return tuple(each.fileno() for each in sockets if each is not None)

    @property
    def address(self) -> str:
        """What the person at the terminal calls it."""
        return f"http://{_reachable(self.host)}:{self.listener.getsockname()[1]}"

    @property
    def grpc_address(self) -> str | None:
        """Where gRPC is spoken; None: it is not."""
        return f"{_reachable(self.host)}:{self.grpc_port}" if self.grpc_port else None


def serve_until_stopped(
    *,
    data_dir: Path,
    host: str,
    port: int,
    grpc_port: int,
    announce: Callable[[Started], None],
    report: Callable[[str], None],
) -> None:
    """Run the stack until SIGINT, SIGTERM or SIGHUP; a second signal stops it the hard way.

    Args:
        data_dir: everything is kept below it; made when absent.
        host: address to listen on.
        port: port to listen on; 0: a free one.
        grpc_port: port of the Open Inference Protocol over gRPC; 0: it is not spoken.
        announce: called once everything is ready.
        report: told in a line what happens to the children.

    Raises:
        EmbeddedError: it cannot start.
    """
    layout = Layout(data_folder(data_dir))
    with (
        locked(layout.lock_path),
        listen(host, port) as listener,
        node_door(host, listener.getsockname()[1]) as for_nodes,
    ):
        doors = _Doors(host, listener, for_nodes, grpc_port)
        asyncio.run(_serve(layout, doors, announce=announce, report=report))


async def _serve(
    layout: Layout,
    doors: _Doors,
    *,
    announce: Callable[[Started], None],
    report: Callable[[str], None],
) -> None:
    supervisor = Supervisor(layout.log_dir, report=report)
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            supervisor.hurry()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    stopping = asyncio.create_task(stop.wait())
    starting = asyncio.create_task(_start(supervisor, layout, doors))
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            announce(starting.result())
            await stopping
            report("stopping")
    finally:
        starting.cancel()
        stopping.cancel()
        await supervisor.stop()


async def _start(supervisor: Supervisor, layout: Layout, doors: _Doors) -> Started:
    env = _environment(layout, doors)
    servers_are_ready = asyncio.Event()
    services = _services(env, layout, doors, servers_are_ready)

    async def start_servers() -> None:
        await supervisor.start(layout.postgres.spec(), layout.broker.spec())
        servers_are_ready.set()

    first_token = None
    if layout.is_migrated():
        # The services load for seconds before they need a server, and outlive its restarts anyway.
        await asyncio.gather(start_servers(), supervisor.start(*services))
    else:
        await start_servers()
        first_token = await _migrate(supervisor, layout, env)
        await supervisor.start(*services)
    return Started(
        address=doors.address,
        data_dir=layout.data_dir,
        first_token=first_token,
        grpc_address=doors.grpc_address,
    )


async def _migrate(supervisor: Supervisor, layout: Layout, env: dict[str, str]) -> str | None:
    """Bring the database to the newest version; return the first token of a new installation."""
    prepared = await supervisor.run_once(
        ChildSpec(
            name="migrate",
            argv=(*_PYTHON, "app.cli", "migrate", "--first-token"),
            env=env,
            cwd=layout.data_dir,
        )
    )
    layout.remember_migrated()
    first_token: str | None = json.loads(prepared)["first_token"]
    return first_token


def _services(
    env: dict[str, str], layout: Layout, doors: _Doors, servers_are_ready: asyncio.Event
) -> list[ChildSpec]:
    # Celery writes it once the worker is set up, before it looks for the broker.
    pidfile = layout.data_dir / "worker.pid"

    async def answers() -> bool:
        return await _answers(doors.listener)

    async def has_pidfile() -> bool:
        return pidfile.exists()

    async def remove_pidfile() -> None:
        pidfile.unlink(missing_ok=True)

    return [
        *_grpc(env, layout, doors),
        ChildSpec(
            name="api",
            argv=(*_PYTHON, "app.cli", "api", *(f"--fd={number}" for number in doors.numbers)),
            env=env,
            cwd=layout.data_dir,
            pass_fds=doors.numbers,
            needs=servers_are_ready.wait,
            is_ready=answers,
            stop_seconds=8.0,
        ),
        ChildSpec(
            name="worker",
            argv=(*_PYTHON, "app.cli", "worker", "--pidfile", str(pidfile)),
            env=env,
            cwd=layout.data_dir,
            prepare=remove_pidfile,
            is_ready=has_pidfile,
            stop_seconds=10.0,
        ),
    ]


def _grpc(env: dict[str, str], layout: Layout, doors: _Doors) -> list[ChildSpec]:
    """The door for gRPC, where there is to be one."""
    if not doors.grpc_port:
        return []

    async def is_open() -> bool:
        return await _opens(doors.host, doors.grpc_port)

    options = (f"--port={doors.grpc_port}", f"--host={doors.host}", f"--api={doors.address}")
    return [
        ChildSpec(
            name="grpc",
            argv=(*_PYTHON, "app.cli", "grpc", *options),
            env=env,
            cwd=layout.data_dir,
            is_ready=is_open,
            stop_seconds=8.0,
        )
    ]


async def _opens(host: str, port: int) -> bool:
    """Say whether somebody listens there."""
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_connection(_reachable(host).strip("[]"), port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _environment(layout: Layout, doors: _Doors) -> dict[str, str]:
    """Return what the children are told; the operator's own settings stay."""
    env = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "TRAINWRIGHT_DATABASE_URL": layout.postgres.url(),
        "TRAINWRIGHT_BROKER_URL": layout.broker.url,
        "TRAINWRIGHT_DATA_DIR": str(layout.data_dir),
        "TRAINWRIGHT_HOST": doors.host,
        "TRAINWRIGHT_PORT": str(doors.listener.getsockname()[1]),
    }
    env.setdefault("TRAINWRIGHT_PUBLIC_URL", doors.address)
    if doors.for_nodes is not None:
        address, port = doors.for_nodes.getsockname()[:2]
        env["TRAINWRIGHT_NODE_URL"] = f"http://{address}:{port}"
    return env


def _reachable(host: str) -> str:
    """Return a host by which this machine reaches itself, as it stands in a URL."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"[{address}]" if address.version == 6 else str(address)


async def _answers(listener: socket.socket) -> bool:
    """Say whether the API answers that it can serve."""
    host, port = listener.getsockname()[:2]
    target = _reachable(host).strip("[]")
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(target, port)
            try:
                request = f"GET /readyz HTTP/1.1\r\nHost: {_reachable(host)}\r\n"
                writer.write(f"{request}Connection: close\r\n\r\n".encode())
                status = (await reader.readline()).split()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    # Anything but a server error: which hosts are answered is the operator's to say.
    return len(status) > 1 and status[1] < b"500"
