"""What is the Docker provider's own: foreign containers, failing starts, networks."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from app.providers.base import NodeSpec, ProviderError
from app.providers.docker.engine import EngineAddress
from app.providers.docker.provider import DockerProvider
from tests import docker_engine
from workers.process import RUNNER

pytestmark = [pytest.mark.anyio, pytest.mark.docker]
# Others may be at work on the engine.
_TAIL = os.urandom(3).hex()
_OWNER = f"tw-test-own-{_TAIL}"


@pytest.fixture
async def provider() -> AsyncIterator[DockerProvider]:
    provider = DockerProvider(EngineAddress(docker_engine.DOCKER_URL), owner=_OWNER, runner=RUNNER)
    yield provider
    for name in await provider.list_names():
        await provider.remove(name)


def spec(image: str, name: str, *, gpus: int = 0, network: str | None = None) -> NodeSpec:
    return NodeSpec(
        name=name,
        endpoint="http://127.0.0.1:1",
        token="secret-token",
        cores=1.0,
        memory_bytes=128 * 1024**2,
        image=image,
        gpus=gpus,
        network=network,
    )


@pytest.mark.fault(38)
async def test_a_foreign_container_of_the_name_is_left_alone(
    provider: DockerProvider, docker_image: str
) -> None:
    with closing(docker_engine.client()) as engine:
        foreign = engine.create_container(
            docker_image, ["sleep", "60"], name=f"tw-foreign{_TAIL}-a1-n0"
        )
        try:
            with pytest.raises(ProviderError, match="has not made"):
                await provider.ensure(spec(docker_image, f"tw-foreign{_TAIL}-a1-n0"))
            await provider.stop(f"tw-foreign{_TAIL}-a1-n0")
            await provider.remove(f"tw-foreign{_TAIL}-a1-n0")
            assert not await provider.is_alive(f"tw-foreign{_TAIL}-a1-n0")
            assert engine.inspect_container(f"tw-foreign{_TAIL}-a1-n0")["Id"] == foreign["Id"]
        finally:
            engine.remove_container(foreign["Id"], force=True)


async def test_a_start_that_fails_leaves_nothing(
    provider: DockerProvider, docker_image: str
) -> None:
    with closing(docker_engine.client()) as engine:
        if "nvidia" in engine.info()["Runtimes"]:
            pytest.skip("this engine has GPUs to give")
    wanted = spec(docker_image, f"tw-gpu{_TAIL}-a1-n0", gpus=1, network=f"tw-test-gpu{_TAIL}")

    with pytest.raises(ProviderError, match="could not select device driver"):
        await provider.ensure(wanted)

    assert await provider.list_names() == []
    with closing(docker_engine.client()) as engine:
        assert engine.networks(names=[f"tw-test-gpu{_TAIL}"]) == []


async def test_an_image_that_is_not_there_is_named(provider: DockerProvider) -> None:
    with pytest.raises(ProviderError, match="No such image"):
        await provider.ensure(spec("trainwright-test/nothing:here", f"tw-none{_TAIL}-a1-n0"))

    assert await provider.list_names() == []


async def test_the_last_node_takes_the_network_with_it(
    provider: DockerProvider, docker_image: str
) -> None:
    names = [f"tw-net{_TAIL}-a1-n0", f"tw-net{_TAIL}-a1-n1"]
    for name in names:
        await provider.ensure(spec(docker_image, name, network=f"tw-test-net{_TAIL}"))

    await provider.remove(names[0])
    with closing(docker_engine.client()) as engine:
        assert len(engine.networks(names=[f"tw-test-net{_TAIL}"])) == 1
        await provider.remove(names[1])
        assert engine.networks(names=[f"tw-test-net{_TAIL}"]) == []


async def test_no_inspection_shows_the_credential(
    provider: DockerProvider, docker_image: str
) -> None:
    await provider.ensure(spec(docker_image, f"tw-token{_TAIL}-a1-n0"))
    with closing(docker_engine.client()) as engine:
        assert "secret-token" not in str(engine.inspect_container(f"tw-token{_TAIL}-a1-n0"))


async def test_an_engine_that_is_away_is_an_error_of_the_provider(docker_image: str) -> None:
    away = DockerProvider(EngineAddress("tcp://127.0.0.1:1"), owner=_OWNER, runner=RUNNER)
    with pytest.raises(ProviderError, match="cannot be reached"):
        await away.is_alive(f"tw-any{_TAIL}-a1-n0")


async def test_a_network_without_nodes_is_found_and_removed(provider: DockerProvider) -> None:
    with closing(docker_engine.client()) as engine:
        engine.create_network(f"tw-test-orphan{_TAIL}", labels={"trainwright.owner": _OWNER})
        assert await provider.list_networks() == [f"tw-test-orphan{_TAIL}"]

        await provider.remove_network(f"tw-test-orphan{_TAIL}")
        await provider.remove_network(f"tw-test-orphan{_TAIL}")

        assert await provider.list_networks() == []


async def test_a_node_without_a_network_of_its_own_joins_the_operators(docker_image: str) -> None:
    provider = DockerProvider(
        EngineAddress(docker_engine.DOCKER_URL),
        owner=_OWNER,
        runner=RUNNER,
        default_network=f"tw-test-operators{_TAIL}",
    )
    with closing(docker_engine.client()) as engine:
        network = engine.create_network(f"tw-test-operators{_TAIL}")["Id"]
        try:
            await provider.ensure(spec(docker_image, f"tw-joined{_TAIL}-a1-n0"))
            address = await provider.address(f"tw-joined{_TAIL}-a1-n0")
            [joined] = engine.inspect_network(network)["Containers"].values()
            assert joined["IPv4Address"].partition("/")[0] == address

            await provider.remove(f"tw-joined{_TAIL}-a1-n0")

            assert engine.inspect_network(network)["Containers"] == {}
        finally:
            await provider.remove(f"tw-joined{_TAIL}-a1-n0")
            engine.remove_network(network)


async def test_nodes_that_are_started_at_once_get_one_network(
    provider: DockerProvider, docker_image: str
) -> None:
    wanted = [
        spec(docker_image, f"tw-once{_TAIL}-a1-n{n}", network=f"tw-test-once{_TAIL}")
        for n in range(4)
    ]

    await asyncio.gather(*(provider.ensure(one) for one in wanted))

    with closing(docker_engine.client()) as engine:
        assert len(engine.networks(names=[f"tw-test-once{_TAIL}"])) == 1
