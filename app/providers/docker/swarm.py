"""Nodes as containers of several engines that are one swarm.

The swarm lends the networks across engines, and knows which of its members live; each engine is
asked itself for the containers on it (docs/decisions: 0013). Replicas of deployments, and whatever
else names no host, are on the engine beside the worker.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from app.providers.base import (
    LOCAL,
    Capacity,
    Host,
    HostLost,
    HostState,
    NodeSpec,
    ProviderError,
)
from app.providers.docker import gpus
from app.providers.docker.engine import EngineAddress, EngineAway, engine
from app.providers.docker.members import Answer, Member, is_down, judge, member
from app.providers.docker.provider import DockerProvider

_LOOK_SECONDS = 5.0
_FRESH_SECONDS = 2.0
T = TypeVar("T")


class SwarmProvider:
    """Runs nodes as containers on the engines of a swarm."""

    name = "docker"

    def __init__(
        self,
        manager: EngineAddress,
        engines: Mapping[str, EngineAddress],
        *,
        on: Callable[[EngineAddress], DockerProvider],
        registered: Callable[[], Awaitable[Mapping[str, EngineAddress]]],
    ) -> None:
        """Make the provider.

        Args:
            manager: of the swarm; the engine beside the worker.
            engines: those that nodes of runs live on, by name.
            on: makes the provider of one engine, with networks across all of them.
            registered: further engines, as they are known now; asked again and again.
        """
        self._manager = manager
        self._settled = dict(engines)
        self._registered = registered
        self._on_engine = on
        self._addresses = dict(engines)
        self._local = on(manager)
        self._engines = {name: on(address) for name, address in engines.items()}
        self._looking = asyncio.Lock()
        self._seen: tuple[float, list[Host]] = (0.0, [])

    async def capacity(self) -> Capacity:
        """That of the engine beside the worker."""
        return await self._local.capacity()

    async def hosts(self) -> list[Host]:
        """All engines, as the swarm and they themselves say."""
        async with self._looking:
            seen_at, hosts = self._seen
            if not hosts or time.monotonic() - seen_at > _FRESH_SECONDS:
                hosts = await self._look()
                self._seen = (time.monotonic(), hosts)
            return hosts

    async def ensure(self, spec: NodeSpec) -> None:
        """Start the node on its engine unless it runs."""
        async with self._on(spec.host) as there:
            await there.ensure(spec)

    async def stop(self, name: str, *, host: str = LOCAL) -> None:
        """Ask the runner to end."""
        async with self._on(host) as there:
            await there.stop(name)

    async def remove(self, name: str, *, host: str | None = None) -> None:
        """Remove what there is of the node on its engine, or on all that answer."""
        if host is not None:
            async with self._on(host) as there:
                await there.remove(name)
            return
        await self._of_all(lambda there: there.remove(name))

    async def is_alive(self, name: str, *, host: str = LOCAL) -> bool:
        """Whether the container runs."""
        async with self._on(host) as there:
            return await there.is_alive(name)

    async def address(self, name: str) -> str | None:
        """Where the engine's machine reaches the container; of nodes beside the worker."""
        return await self._local.address(name)

    async def list_names(self) -> list[str]:
        """The nodes of which anything is left on an engine that answers."""
        found = await self._of_all(lambda there: there.list_names())
        return sorted({name for names in found for name in names})

    async def list_networks(self) -> list[str]:
        """The networks across the engines."""
        return await self._local.list_networks()

    async def remove_network(self, name: str) -> None:
        """Remove one of them unless a node is in it."""
        await self._local.remove_network(name)

    async def fill_volume(
        self, name: str, archive: Iterable[bytes], *, image: str, host: str = LOCAL
    ) -> None:
        """Make an input volume on an engine."""
        async with self._on(host) as there:
            await there.fill_volume(name, archive, image=image)

    async def list_volumes(self) -> list[str]:
        """The input volumes on all engines that answer."""
        found = await self._of_all(lambda there: there.list_volumes())
        return sorted({name for names in found for name in names})

    async def remove_volume(self, name: str, *, host: str | None = None) -> None:
        """Remove an input volume from its engine, or from all that answer."""
        if host is not None:
            async with self._on(host) as there:
                await there.remove_volume(name)
            return
        await self._of_all(lambda there: there.remove_volume(name))

    async def _look(self) -> list[Host]:
        await self._know()
        members = await asyncio.to_thread(self._members)
        names = sorted(self._addresses)
        answers = await asyncio.gather(*(asyncio.to_thread(self._ask, name) for name in names))
        return [judge(name, members, said) for name, said in zip(names, answers, strict=True)]

    async def _know(self) -> None:
        """Know the engines that are registered now; the settings win."""
        addresses = {**await self._registered(), **self._settled}
        if addresses == self._addresses:
            return
        before, providers = self._addresses, self._engines
        self._engines = {
            name: providers[name] if before.get(name) == address else self._on_engine(address)
            for name, address in addresses.items()
        }
        self._addresses = addresses

    def _members(self) -> list[Member]:
        """The members of the swarm.

        Raises:
            ProviderError: the engine is away, or no manager of a swarm.
        """
        with engine(self._manager) as client:
            if not client.info()["Swarm"].get("ControlAvailable"):
                raise ProviderError(
                    f"The Docker engine at {self._manager.url} is no manager of a swarm, as it has "
                    "to be for nodes on several engines: see docs/engines.md."
                )
            return [member(found) for found in client.nodes()]

    def _ask(self, name: str) -> Answer:
        try:
            address = replace(self._addresses[name], answer_seconds=_LOOK_SECONDS)
            with engine(address) as client:
                info = client.info()
                return Answer(info["Swarm"].get("NodeID", ""), gpus=gpus.count(info))
        except ProviderError as error:
            return Answer(error=str(error))

    @asynccontextmanager
    async def _on(self, name: str) -> AsyncIterator[DockerProvider]:
        """The engine of this name; what it fails at is said with the name."""
        if name == LOCAL:
            yield self._local
            return
        if name not in self._engines:
            await self._know()  # another worker may have met it first
        if name not in self._engines:
            raise HostLost(f"Engine {name!r} is neither in the settings nor registered any more.")
        if down := self._known_to_be_down(name):
            raise HostLost(f"Engine {name} is down: {down}")
        try:
            yield self._engines[name]
        except EngineAway as error:
            members = await asyncio.to_thread(self._members)
            if is_down(name, members):
                raise HostLost(f"Engine {name} is down: {error}") from error
            raise EngineAway(f"Engine {name}: {error}") from error

    def _known_to_be_down(self, name: str) -> str:
        """Why the engine need not be asked: it was found to be down a moment ago."""
        seen_at, hosts = self._seen
        is_fresh = time.monotonic() - seen_at <= _FRESH_SECONDS
        down = [host for host in hosts if host.name == name and host.state == HostState.DOWN]
        return down[0].detail if is_fresh and down else ""

    async def _of_all(self, work: Callable[[DockerProvider], Awaitable[T]]) -> list[T]:
        """Ask the engine beside the worker, and all others that answer."""
        done = [await work(self._local)]
        others = await asyncio.gather(
            *(work(there) for there in self._engines.values()), return_exceptions=True
        )
        for result in others:
            if isinstance(result, EngineAway):
                continue  # what is there is found when it is back
            if isinstance(result, BaseException):
                raise result
            done.append(result)
        return done
