"""Every provider in the same world: real runners, and a server that speaks the node protocol."""

import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from app.providers.base import LOCAL, Capacity, NodeSpec, Provider
from app.providers.docker.engine import EngineAddress
from app.providers.docker.gateway import gateway_address
from app.providers.docker.provider import DockerProvider
from app.providers.fake.provider import FakeProvider
from app.providers.process.provider import ProcessProvider
from tests import docker_engine
from tests.docker_engine import BASE_IMAGE
from tests.runner.node_api import TOKEN, NodeApi
from tests.swarm import Swarm
from tests.waiting import until
from workers.process import RUNNER

_MEMORY_BYTES = 256 * 1024**2


@dataclass
class World:
    """A provider, and what its nodes talk to."""

    provider: Provider
    api: NodeApi
    python: str
    image: str | None
    owner: str
    host: str = LOCAL

    def spec(self, *, script: str = "import time; time.sleep(600)", **values: Any) -> NodeSpec:
        """A node whose process runs this Python text."""
        name = f"tw-{self.owner}-a1-n0"
        self.api.order = {
            "name": name,
            "run_id": "run_1",
            "attempt": 1,
            "node_index": 0,
            "heartbeat_seconds": 0.2,
            "grace_seconds": 2,
            "processes": [
                {
                    "stream": "user_logs/std_log.txt",
                    "argv": [self.python, "-c", script],
                    "environment": {},
                }
            ],
            "collect": ["outputs"],
            "follow": ["logs"],
        }
        spec = NodeSpec(
            name=name,
            endpoint=self.api.url,
            token=TOKEN,
            cores=1.0,
            memory_bytes=_MEMORY_BYTES,
            image=self.image,
            host=self.host,
        )
        return replace(spec, **values)

    async def is_alive(self, name: str) -> bool:
        """Whether the node runs on the host that nodes are on."""
        return await self.provider.is_alive(name, host=self.host)

    async def ended(self, name: str) -> None:
        """Wait until the node runs no longer."""

        async def has_ended() -> bool:
            return not await self.is_alive(name)

        await until(has_ended)


PROVIDERS = [
    "process",
    "fake",
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("swarm", marks=pytest.mark.docker),
]


@pytest.fixture(params=PROVIDERS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A provider with nothing in it; it must be left so."""
    if request.param == "docker":
        image = request.getfixturevalue("docker_image")
        owner = f"test-{os.urandom(6).hex()}"
        containers = DockerProvider(
            EngineAddress(docker_engine.DOCKER_URL), owner=owner, runner=RUNNER
        )
        world = World(
            containers, NodeApi(gateway_address(docker_engine.DOCKER_URL)), "python3", image, owner
        )
    elif request.param == "swarm":
        swarm: Swarm = request.getfixturevalue("swarm")
        owner = f"test-{os.urandom(6).hex()}"
        api = NodeApi(swarm.gateway)
        world = World(swarm.provider(owner), api, "python3", BASE_IMAGE, owner, host="beta")
    elif request.param == "fake":
        size = Capacity(cores=2.0, memory_bytes=_MEMORY_BYTES, gpus=0)
        fake = FakeProvider(capacity=size, folder=tmp_path / "nodes", runner=RUNNER)
        world = World(fake, NodeApi(), sys.executable, None, os.urandom(6).hex())
    else:
        processes = ProcessProvider(tmp_path / "nodes", runner=RUNNER)
        world = World(processes, NodeApi(), sys.executable, None, os.urandom(6).hex())
    yield world
    for name in await world.provider.list_names():
        await world.provider.remove(name)
    assert await world.provider.list_names() == []
    world.api.close()
