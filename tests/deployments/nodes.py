"""Replicas that answer without a model: servers in this loop in the place of nodes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.providers.fake.provider import FakeProvider
from tests.live_api import LiveApi

Report = Callable[[str, int], Awaitable[None]]


class Nodes:
    """Starts a server for every node that the provider was asked for, and ends it with the node.

    Attributes:
        seconds: how long each answer takes.
        asked: how many requests each replica has got, by its name.
        requests: how many each has answered.
    """

    def __init__(self, api: LiveApi, fake: FakeProvider) -> None:
        self.seconds = 0.0
        self.asked: dict[str, int] = {}
        self.requests: dict[str, int] = {}
        self._api = api
        self._fake = fake
        self._servers: dict[str, tuple[uvicorn.Server, asyncio.Task[None]]] = {}

    async def keep(self) -> None:
        """Do so until cancelled."""
        try:
            while True:
                for name in [name for name in self._fake.specs if name not in self._servers]:
                    await self._start(name)
                for name in [name for name in self._servers if name not in self._fake.specs]:
                    await self.kill(name)
                await asyncio.sleep(0.02)
        finally:
            for name in list(self._servers):
                await self.kill(name)

    async def kill(self, name: str) -> None:
        """End the server of a node as SIGKILL does: what it has under way gets no answer."""
        server, task = self._servers.pop(name)
        server.should_exit = server.force_exit = True
        for listener in server.servers:
            listener.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await task

    async def _start(self, name: str) -> None:
        self.asked[name] = self.requests[name] = 0

        async def predict(request: Request) -> Response:
            await request.body()
            self.asked[name] += 1
            await asyncio.sleep(self.seconds)
            self.requests[name] += 1
            return JSONResponse({"predictions": [name]}, headers={"Model-Version": name[-6:-4]})

        app = Starlette(routes=[Route("/v1/predict", predict, methods=["POST"])])
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(app, lifespan="off", log_level="critical", access_log=False)
        )
        task = asyncio.create_task(server.serve(sockets=[listening]))
        self._servers[name] = (server, task)
        answer = await self._api.client.post(
            "http://api/v1/node/events",
            json={"event": "serving", "port": listening.getsockname()[1]},
            headers={"Authorization": f"Bearer {self._fake.specs[name].token}"},
        )
        assert answer.status_code in (200, 410), answer.text


@asynccontextmanager
async def answering_nodes(api: LiveApi, fake: FakeProvider) -> AsyncIterator[Nodes]:
    """Nodes that answer, for the block."""
    nodes = Nodes(api, fake)
    keeping = asyncio.create_task(nodes.keep())
    try:
        yield nodes
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
