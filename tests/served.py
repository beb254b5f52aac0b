"""The application on a real socket, in a thread of its own."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from tests.live_api import LiveApi, live_api


@dataclass(frozen=True)
class Served:
    """A server behind a socket.

    Attributes:
        address: of the server.
        token: a user's.
        api: the application; its client must be used in `loop` only.
        loop: in which the application runs, in another thread.
    """

    address: str
    token: str
    api: LiveApi
    loop: asyncio.AbstractEventLoop


@contextmanager
def served_api(
    folder: Path, postgres_url: str, broker_url: str, **options: Any
) -> Iterator[Served]:
    """Serve the application for the block; options are those of `live_api`."""
    ready: list[Served] = []
    is_up = threading.Event()
    stop: list[asyncio.Event] = []

    async def serve() -> None:
        stop.append(asyncio.Event())
        async with live_api(folder, postgres_url, broker_url, **options) as api:
            listening = socket.create_server(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            server = uvicorn.Server(
                uvicorn.Config(api.app, lifespan="off", log_level="warning", access_log=False)
            )
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            token = api.client.headers["authorization"].removeprefix("Bearer ")
            ready.append(Served(address, token, api, asyncio.get_running_loop()))
            is_up.set()
            await stop[0].wait()
            server.should_exit = True
            await serving

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert is_up.wait(timeout=60), "the server did not start"
        yield ready[0]
    finally:
        if ready:
            ready[0].loop.call_soon_threadsafe(stop[0].set)
        thread.join(timeout=30)
