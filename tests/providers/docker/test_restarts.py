"""Containers that outlive their engine are taken up again where they are."""

import asyncio
import os

import pytest

from app.providers.base import ProviderError
from app.providers.docker.engine import EngineAddress
from app.providers.docker.provider import DockerProvider
from tests.engines import segment
from tests.providers.contract.conftest import World
from tests.runner.node_api import NodeApi
from workers.process import RUNNER

pytestmark = [pytest.mark.anyio, pytest.mark.docker]


async def test_an_engine_with_live_restore_comes_back_to_the_same_node(docker_image: str) -> None:
    with segment() as network, network.engine("steady", "--live-restore") as engine:
        image = engine.load()
        owner = f"test-{os.urandom(6).hex()}"
        provider = DockerProvider(EngineAddress(engine.url), owner=owner, runner=RUNNER)
        world = World(provider, NodeApi(network.gateway), "python3", image, owner)
        spec = world.spec()
        await provider.ensure(spec)
        await asyncio.to_thread(world.api.event, "started")

        engine.kill()
        with pytest.raises(ProviderError, match="cannot be reached"):
            await provider.is_alive(spec.name)
        engine.start()

        assert await provider.is_alive(spec.name)
        await provider.ensure(spec)
        assert [event["event"] for event in world.api.events] == ["ready", "started"]
        await provider.stop(spec.name)
        await asyncio.to_thread(world.api.event, "finished")
        await provider.remove(spec.name)
        assert await provider.list_names() == []
        world.api.close()
