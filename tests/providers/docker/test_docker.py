"""What is the Docker provider's own: foreign containers, failing starts, networks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from app.providers.base import NodeSpec, ProviderError
from app.providers.docker.engine import EngineAddress
from app.providers.docker.provider import DockerProvider
from tests import docker_engine
from workers.process import RUNNER

pytestmark = [pytest.mark.anyio, pytest.mark.docker]
_OWNER = "tw-test-own"


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
        foreign = engine.create_container(docker_image, ["sleep", "60"], name="tw-foreign-a1-n0")
        try:
            with pytest.raises(ProviderError, match="has not made"):
                await provider.ensure(spec(docker_image, "tw-foreign-a1-n0"))
            await provider.stop("tw-foreign-a1-n0")
            await provider.remove("tw-foreign-a1-n0")
            assert not await provider.is_alive("tw-foreign-a1-n0")
            assert engine.inspect_container("tw-foreign-a1-n0")["Id"] == foreign["Id"]
        finally:
            engine.remove_container(foreign["Id"], force=True)


async def test_a_start_that_fails_leaves_nothing(
    provider: DockerProvider, docker_image: str
) -> None:
    with closing(docker_engine.client()) as engine:
        if "nvidia" in engine.info()["Runtimes"]:
            pytest.skip("this engine has GPUs to give")
    wanted = spec(docker_image, "tw-gpu-a1-n0", gpus=1, network="tw-test-gpu")

    with pytest.raises(ProviderError, match="could not select device driver"):
        await provider.ensure(wanted)

    assert await provider.list_names() == []
    with closing(docker_engine.client()) as engine:
        assert engine.networks(names=["tw-test-gpu"]) == []


async def test_an_image_that_is_not_there_is_named(provider: DockerProvider) -> None:
    with pytest.raises(ProviderError, match="No such image"):
        await provider.ensure(spec("trainwright-test/nothing:here", "tw-none-a1-n0"))

    assert await provider.list_names() == []


async def test_the_last_node_takes_the_network_with_it(
    provider: DockerProvider, docker_image: str
) -> None:
    names = ["tw-net-a1-n0", "tw-net-a1-n1"]
    for name in names:
        await provider.ensure(spec(docker_image, name, network="tw-test-net"))

    await provider.remove(names[0])
    with closing(docker_engine.client()) as engine:
        assert len(engine.networks(names=["tw-test-net"])) == 1
        await provider.remove(names[1])
        assert engine.networks(names=["tw-test-net"]) == []


async def test_no_inspection_shows_the_credential(
    provider: DockerProvider, docker_image: str
) -> None:
    await provider.ensure(spec(docker_image, "tw-token-a1-n0"))
    with closing(docker_engine.client()) as engine:
        assert "secret-token" not in str(engine.inspect_container("tw-token-a1-n0"))


async def test_an_engine_that_is_away_is_an_error_of_the_provider(docker_image: str) -> None:
    away = DockerProvider(EngineAddress("tcp://127.0.0.1:1"), owner=_OWNER, runner=RUNNER)
    with pytest.raises(ProviderError, match="cannot be reached"):
        await away.is_alive("tw-any-a1-n0")


async def test_a_network_without_nodes_is_found_and_removed(provider: DockerProvider) -> None:
    with closing(docker_engine.client()) as engine:
        engine.create_network("tw-test-orphan", labels={"trainwright.owner": _OWNER})
        assert await provider.list_networks() == ["tw-test-orphan"]

        await provider.remove_network("tw-test-orphan")
        await provider.remove_network("tw-test-orphan")

        assert await provider.list_networks() == []


async def test_a_node_without_a_network_of_its_own_joins_the_operators(docker_image: str) -> None:
    provider = DockerProvider(
        EngineAddress(docker_engine.DOCKER_URL),
        owner=_OWNER,
        runner=RUNNER,
        default_network="tw-test-operators",
    )
    with closing(docker_engine.client()) as engine:
        network = engine.create_network("tw-test-operators")["Id"]
        try:
            await provider.ensure(spec(docker_image, "tw-joined-a1-n0"))
            address = await provider.address("tw-joined-a1-n0")
            [joined] = engine.inspect_network(network)["Containers"].values()
            assert joined["IPv4Address"].partition("/")[0] == address

            await provider.remove("tw-joined-a1-n0")

            assert engine.inspect_network(network)["Containers"] == {}
        finally:
            await provider.remove("tw-joined-a1-n0")
            engine.remove_network(network)


async def test_nodes_that_are_started_at_once_get_one_network(
    provider: DockerProvider, docker_image: str
) -> None:
    wanted = [spec(docker_image, f"tw-once-a1-n{n}", network="tw-test-once") for n in range(4)]

    await asyncio.gather(*(provider.ensure(one) for one in wanted))

    with closing(docker_engine.client()) as engine:
        assert len(engine.networks(names=["tw-test-once"])) == 1
