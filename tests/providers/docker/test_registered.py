"""Engines that are registered while the worker runs, without any engine."""

from typing import Any, cast

import pytest

from app.providers.base import HostLost
from app.providers.docker.engine import EngineAddress, EngineAway, engine
from app.providers.docker.provider import DockerProvider
from app.providers.docker.swarm import SwarmProvider

pytestmark = pytest.mark.anyio


class Alive:
    """An engine on which everything lives."""

    def __init__(self, address: EngineAddress) -> None:
        self.url = address.url

    async def is_alive(self, name: str) -> bool:
        return True

    async def list_names(self) -> list[str]:
        return [self.url]


async def test_an_engine_is_known_as_long_as_it_is_registered_and_the_settings_win() -> None:
    registered: dict[str, EngineAddress] = {}

    async def all_registered() -> dict[str, EngineAddress]:
        return registered

    manager = EngineAddress("unix:///manager")
    provider = SwarmProvider(
        manager,
        {"alpha": EngineAddress("tcp://alpha:1")},
        on=lambda at: cast("DockerProvider", cast("Any", Alive(at))),
        registered=all_registered,
    )
    with pytest.raises(HostLost, match="registered"):
        await provider.is_alive("tw-x", host="gamma")

    registered["gamma"] = EngineAddress("tcp://gamma:1")
    registered["alpha"] = EngineAddress("tcp://other:1")
    assert await provider.is_alive("tw-x", host="gamma")
    assert await provider.list_names() == ["tcp://alpha:1", "tcp://gamma:1", "unix:///manager"]


def test_an_address_where_no_engine_can_be_has_none() -> None:
    with pytest.raises(EngineAway, match="70000"), engine(EngineAddress("tcp://alpha:70000")):
        pass
