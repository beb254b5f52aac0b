"""Two engines as one swarm, for tests."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from app.providers.docker.engine import EngineAddress
from app.providers.docker.networks import OverlayNetworks
from app.providers.docker.provider import DockerProvider
from app.providers.docker.swarm import SwarmProvider
from tests.engines import Engine, segment
from workers.process import RUNNER

_SECOND = 10**9


@dataclass(frozen=True)
class Swarm:
    """A manager, which stands for the engine beside the worker, and another engine.

    Attributes:
        gateway: where engines and containers reach this machine.
        alpha: the manager.
        beta: the other.
    """

    gateway: str
    alpha: Engine
    beta: Engine

    @property
    def engines(self) -> dict[str, str]:
        """Addresses by name, as in the settings."""
        return {"alpha": self.alpha.url, "beta": self.beta.network_url}

    def member(self, hostname: str) -> dict[str, Any]:
        """What the manager says of a member."""
        with closing(self.alpha.client()) as manager:
            found = [n for n in manager.nodes() if n["Description"]["Hostname"] == hostname]
        assert len(found) == 1, found
        member: dict[str, Any] = found[0]
        return member

    def change(self, hostname: str, **spec: Any) -> None:
        """Change what the swarm says of a member, e.g. its Availability."""
        member = self.member(hostname)
        with closing(self.alpha.client()) as manager:
            manager.update_node(member["ID"], member["Version"]["Index"], member["Spec"] | spec)

    def provider(self, owner: str) -> SwarmProvider:
        """A provider of nodes on both."""
        manager = EngineAddress(self.alpha.url)
        networks = OverlayNetworks(manager, owner, is_encrypted=False)
        return SwarmProvider(
            manager,
            {name: EngineAddress(url) for name, url in self.engines.items()},
            on=lambda at: DockerProvider(at, owner=owner, runner=RUNNER, networks=networks),
            registered=none_registered,
        )


async def none_registered() -> dict[str, EngineAddress]:
    """The settings name all engines."""
    return {}


@contextmanager
def two_engines() -> Iterator[Swarm]:
    """A swarm of two for the block; the base image is in both."""
    with segment() as network, network.engine("alpha") as alpha, network.engine("beta") as beta:
        with closing(alpha.client()) as manager, closing(beta.client()) as other:
            # Who misses three heartbeats is down; networks that nothing else here uses.
            manager.init_swarm(
                advertise_addr=alpha.address,
                listen_addr=alpha.address,
                default_addr_pool=["10.240.0.0/16"],
                subnet_size=26,
                swarm_spec=manager.create_swarm_spec(dispatcher_heartbeat_period=5 * _SECOND),
            )
            token = manager.inspect_swarm()["JoinTokens"]["Worker"]
            other.join_swarm(
                [alpha.address], token, listen_addr=beta.address, advertise_addr=beta.address
            )
        alpha.load()
        beta.load()
        yield Swarm(network.gateway, alpha, beta)
