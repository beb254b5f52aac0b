"""Nodes on the engines of a swarm: where they are, drained engines, one that is cut off."""

from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from app.providers.base import HostLost, HostState, NodeSpec, ProviderError
from app.providers.docker.engine import EngineAddress
from app.providers.docker.networks import OverlayNetworks
from app.providers.docker.provider import DockerProvider
from app.providers.docker.swarm import SwarmProvider
from tests.docker_engine import BASE_IMAGE
from tests.engines import Engine
from tests.swarm import Swarm, none_registered
from tests.waiting import until
from workers.process import RUNNER

pytestmark = [pytest.mark.anyio, pytest.mark.docker]
_OWNER = "tw-test-swarm"
_NETWORK = "tw-across-a1"


@pytest.fixture
async def provider(swarm: Swarm) -> AsyncIterator[SwarmProvider]:
    provider = swarm.provider(_OWNER)
    yield provider
    for name in await provider.list_names():
        await provider.remove(name)
    await until_network_is_gone(provider)


async def until_network_is_gone(provider: SwarmProvider) -> None:
    async def is_gone() -> bool:
        # The manager hears a moment later that the last node has left it, and refuses until then.
        await provider.remove_network(_NETWORK)
        return await provider.list_networks() == []

    await until(is_gone)


def spec(host: str) -> NodeSpec:
    return NodeSpec(
        name=f"tw-across-a1-{host}",
        endpoint="http://127.0.0.1:1",
        token="secret-token",
        cores=1.0,
        memory_bytes=128 * 1024**2,
        image=BASE_IMAGE,
        network=_NETWORK,
        host=host,
    )


async def states(provider: SwarmProvider) -> dict[str, HostState]:
    return {host.name: host.state for host in await provider.hosts()}


def names_at(engine: Engine) -> list[str]:
    with closing(engine.client()) as client:
        found = client.containers(filters={"label": f"trainwright.owner={_OWNER}"})
    return [container["Names"][0].removeprefix("/") for container in found]


async def test_a_node_is_on_its_engine_and_its_peers_share_a_network(
    swarm: Swarm, provider: SwarmProvider
) -> None:
    for host in ("alpha", "beta"):
        await provider.ensure(spec(host))

    assert names_at(swarm.alpha) == ["tw-across-a1-alpha"]
    assert names_at(swarm.beta) == ["tw-across-a1-beta"]
    assert await provider.list_networks() == [_NETWORK]
    with closing(swarm.alpha.client()) as manager:
        network = manager.inspect_network(_NETWORK)
    assert (network["Driver"], network["Attachable"]) == ("overlay", True)

    await provider.remove("tw-across-a1-alpha", host="alpha")
    assert await provider.list_networks() == [_NETWORK]
    await provider.remove("tw-across-a1-beta", host="beta")
    await until_network_is_gone(provider)


async def test_a_drained_engine_takes_no_nodes(swarm: Swarm, provider: SwarmProvider) -> None:
    assert await states(provider) == {"alpha": HostState.READY, "beta": HostState.READY}
    swarm.change("beta", Availability="drain")
    try:

        async def is_drained() -> bool:
            return (await states(provider))["beta"] == HostState.DRAINED

        await until(is_drained)
    finally:
        swarm.change("beta", Availability="active")


async def test_a_node_on_an_engine_that_is_cut_off_is_lost_and_found_again(
    swarm: Swarm, provider: SwarmProvider
) -> None:
    await provider.ensure(spec("beta"))
    name = "tw-across-a1-beta"
    swarm.beta.cut_off()
    try:

        async def is_down() -> bool:
            return (await states(provider))["beta"] == HostState.DOWN

        await until(is_down)
        with pytest.raises(HostLost, match="beta is down"):
            await provider.is_alive(name, host="beta")
        with pytest.raises(HostLost):
            await provider.remove(name, host="beta")
        assert await provider.list_names() == []
        await provider.remove_network(_NETWORK)
        assert await provider.list_networks() == [_NETWORK], "somebody is still in it"
    finally:
        swarm.beta.plug_in()

    async def is_back() -> bool:
        return (await states(provider))["beta"] == HostState.READY

    await until(is_back)
    assert await provider.list_names() == [name]
    assert await provider.is_alive(name, host="beta")


async def test_a_manager_that_restarts_loses_nobody(swarm: Swarm, provider: SwarmProvider) -> None:
    await provider.ensure(spec("beta"))
    swarm.alpha.kill()
    swarm.alpha.start()
    seen: set[HostState] = set()

    async def are_ready() -> bool:
        try:
            found = await states(provider)
            assert await provider.is_alive("tw-across-a1-beta", host="beta")
        except HostLost:
            raise
        except ProviderError:
            return False  # the manager has not found itself yet
        seen.update(found.values())
        return set(found.values()) == {HostState.READY}

    await until(are_ready, seconds=60)
    assert HostState.DOWN not in seen


def test_a_network_is_encrypted_where_that_is_asked_for(swarm: Swarm) -> None:
    manager = EngineAddress(swarm.alpha.url)
    networks = OverlayNetworks(manager, _OWNER, is_encrypted=True)
    with closing(swarm.alpha.client()) as client:
        networks.ensure(client, "tw-secret-a1")
        try:
            assert "encrypted" in client.inspect_network("tw-secret-a1")["Options"]
        finally:
            networks.remove(client, "tw-secret-a1")
        assert networks.names(client) == []


async def test_an_engine_that_no_setting_names_any_more_is_lost(provider: SwarmProvider) -> None:
    with pytest.raises(HostLost, match="gamma"):
        await provider.is_alive("tw-any-a1-n0", host="gamma")


async def test_an_engine_that_is_no_manager_is_refused(swarm: Swarm) -> None:
    worker = EngineAddress(swarm.beta.url)
    networks = OverlayNetworks(worker, _OWNER, is_encrypted=False)
    provider = SwarmProvider(
        worker,
        {"beta": worker},
        on=lambda at: DockerProvider(at, owner=_OWNER, runner=RUNNER, networks=networks),
        registered=none_registered,
    )
    with pytest.raises(ProviderError, match="no manager of a swarm"):
        await provider.hosts()
