"""Nodes as containers of a Docker engine.

The truth is what the engine shows when asked; nothing is remembered here, and no stream of
events is listened to. A node is a container and a volume of its name, both with our labels;
whatever carries other labels, or none, is never touched.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docker.errors import APIError, ImageNotFound

from app.providers.base import (
    LOCAL,
    Capacity,
    Host,
    ImageMissing,
    NodeRefused,
    NodeSpec,
    NotYetRemoved,
    ProviderError,
)
from app.providers.docker import gpus as engine_gpus
from app.providers.docker.container import (
    NETWORK_LABEL,
    NODE_LABEL,
    OWNER_LABEL,
    container_options,
    labels,
)
from app.providers.docker.engine import (
    CONFLICT,
    NOT_FOUND,
    EngineAddress,
    engine,
    is_status,
    words,
)
from app.providers.docker.lookup import await_made, inspect, is_final
from app.providers.docker.networks import BridgeNetworks, Networks
from app.providers.docker.payload import VOLUME, payload
from app.providers.docker.pull import pull_missing
from app.providers.docker.volumes import InputContent

_SERVER_ERROR = 500


class DockerProvider:
    """Runs nodes as containers.

    The blocking client is used in threads, one client a call.
    """

    name = "docker"

    def __init__(
        self,
        address: EngineAddress,
        *,
        owner: str,
        runner: Path,
        default_network: str = "bridge",
        gpus: int = 0,
        credentials_file: Path | None = None,
        networks: Networks | None = None,
    ) -> None:
        """Make the provider.

        Args:
            address: of the engine.
            owner: this installation; written on everything that is made.
            runner: the runner's program.
            default_network: of nodes that are not in a network of their own.
            gpus: how many the engine's machine has; 0: as many as the engine says.
            credentials_file: of registries, for images that the engine lacks.
            networks: how nodes are joined; absent: within this engine.
        """
        self._networks = networks or BridgeNetworks(owner)
        self._inputs = InputContent(owner)
        self._credentials_file = credentials_file
        self._engine = address
        self._owner = owner
        self._runner = runner.parent
        self._default_network = default_network
        self._gpus = gpus

    async def capacity(self) -> Capacity:
        """The engine's cores and memory."""
        return await asyncio.to_thread(self._capacity)

    async def hosts(self) -> list[Host]:
        """The engine's machine."""
        return [Host(name=LOCAL, capacity=await self.capacity())]

    async def ensure(self, spec: NodeSpec) -> None:
        """Create and start the node's container unless it runs."""
        await asyncio.to_thread(self._ensure, spec)

    async def stop(self, name: str, *, host: str = LOCAL) -> None:
        """Send SIGTERM to the runner: it stops the script, collects, reports and ends."""
        await asyncio.to_thread(self._stop, name)

    async def remove(self, name: str, *, host: str | None = None) -> None:
        """Kill the container and remove it, its volume, and its network when nobody needs it."""
        await asyncio.to_thread(self._remove, name)

    async def is_alive(self, name: str, *, host: str = LOCAL) -> bool:
        """Whether the container runs, as the engine's inspection says."""
        return await asyncio.to_thread(self._is_alive, name)

    async def address(self, name: str) -> str | None:
        """The container's address on its bridge network, which the engine's machine reaches."""
        return await asyncio.to_thread(self._address, name)

    async def list_names(self) -> list[str]:
        """The nodes of which a container or a volume exists."""
        return await asyncio.to_thread(self._list_names)

    async def list_networks(self) -> list[str]:
        """The networks with our label."""
        return await asyncio.to_thread(self._list_networks)

    async def remove_network(self, name: str) -> None:
        """Remove one of our networks unless a node is in it."""
        await asyncio.to_thread(self._remove_unused_network, name)

    async def fill_volume(
        self, name: str, archive: Iterable[bytes], *, image: str, host: str = LOCAL
    ) -> None:
        """Make an input volume."""

        def fill() -> None:
            with engine(self._engine) as client:
                pull_missing(client, image, self._credentials_file)
                self._inputs.fill(client, name, archive, image=image)

        await asyncio.to_thread(fill)

    async def list_volumes(self) -> list[str]:
        """The input volumes."""

        def names() -> list[str]:
            with engine(self._engine) as client:
                return self._inputs.names(client)

        return await asyncio.to_thread(names)

    async def remove_volume(self, name: str, *, host: str | None = None) -> None:
        """Remove an input volume that no container uses."""

        def remove() -> None:
            with engine(self._engine) as client:
                self._inputs.discard(client, name)

        await asyncio.to_thread(remove)

    def _capacity(self) -> Capacity:
        with engine(self._engine) as client:
            info = client.info()
        return Capacity(
            cores=float(info["NCPU"]),
            memory_bytes=int(info["MemTotal"]),
            gpus=self._gpus or engine_gpus.count(info),
        )

    def _ensure(self, spec: NodeSpec) -> None:
        if spec.image is None:
            raise ProviderError(f"Node {spec.name} has no image to be made of.")
        with engine(self._engine) as client:
            found = inspect(client, spec.name)
            if found is None:
                pull_missing(client, spec.image, self._credentials_file)
                found = self._create(client, spec)
            self._check_ours(found["Config"]["Labels"], f"container {spec.name}")
            if not found["State"]["Running"]:
                self._start(client, spec)

    def _create(self, client: Any, spec: NodeSpec) -> dict[str, Any]:
        for each in spec.inputs:
            self._inputs.require(client, each.volume)
        peers_via = None
        if spec.network is not None:
            peers_via = self._networks.ensure(client, spec.network)
        # Making a volume that exists is no error to the engine, whomever it belongs to.
        volume = client.create_volume(spec.name, labels=labels(self._owner, spec))
        self._check_ours(volume["Labels"], f"volume {spec.name}")
        cores = float(client.info()["NCPU"])
        try:
            options = container_options(
                client,
                self._owner,
                spec,
                cores=cores,
                network=spec.network or self._default_network,
                peers_via=peers_via,
            )
            client.create_container(**options)
        except APIError as error:
            # Somebody was faster, or an earlier call was carried out though it timed out.
            if not is_status(error, CONFLICT):
                self._remove_volume(client, spec.name)
                if isinstance(error, ImageNotFound):
                    raise ImageMissing(words(error), reference=str(spec.image)) from error
                raise
        return await_made(client, spec.name)

    def _start(self, client: Any, spec: NodeSpec) -> None:
        try:
            client.put_archive(spec.name, VOLUME, payload(self._runner, spec.token))
            client.start(spec.name)
        except APIError as error:
            # The engine leaves a container behind that it could not start.
            self._remove_with(client, spec.name)
            text = f"The container cannot be started: {words(error)}"
            raise (NodeRefused if is_final(error) else ProviderError)(text) from error

    def _stop(self, name: str) -> None:
        with engine(self._engine) as client:
            if not self._is_ours(inspect(client, name)):
                return
            try:
                client.kill(name, "SIGTERM")
            except APIError as error:
                if not is_status(error, NOT_FOUND, CONFLICT):
                    raise

    def _remove(self, name: str) -> None:
        with engine(self._engine) as client:
            self._remove_with(client, name)

    def _remove_with(self, client: Any, name: str) -> None:
        networks = set()
        found = inspect(client, name)
        if found is not None and self._is_ours(found):
            networks.add(found["Config"]["Labels"].get(NETWORK_LABEL))
            try:
                # Volumes without a name are those that the image declares.
                client.remove_container(name, v=True, force=True)
            except APIError as error:
                if is_status(error, CONFLICT, _SERVER_ERROR):
                    raise NotYetRemoved(name) from error
                if not is_status(error, NOT_FOUND):
                    raise
        networks.add(self._remove_volume(client, name))
        for network in networks - {None}:
            self._networks.remove(client, str(network))

    def _remove_volume(self, client: Any, name: str) -> str | None:
        """Remove a node's volume; says in which network the node was."""
        try:
            found = client.inspect_volume(name)["Labels"] or {}
            if found.get(OWNER_LABEL) != self._owner:
                return None
            client.remove_volume(name)
        except APIError as error:
            if is_status(error, CONFLICT):
                raise NotYetRemoved(name) from error
            if is_status(error, NOT_FOUND):
                return None
            raise
        network: str | None = found.get(NETWORK_LABEL)
        return network

    def _is_alive(self, name: str) -> bool:
        with engine(self._engine) as client:
            found = inspect(client, name)
        return found is not None and self._is_ours(found) and bool(found["State"]["Running"])

    def _address(self, name: str) -> str | None:
        with engine(self._engine) as client:
            found = inspect(client, name)
        if found is None or not self._is_ours(found):
            return None
        networks = found["NetworkSettings"]["Networks"].values()
        return next((network["IPAddress"] for network in networks if network["IPAddress"]), None)

    def _list_names(self) -> list[str]:
        ours = {"label": f"{OWNER_LABEL}={self._owner}"}
        with engine(self._engine) as client:
            held = [found["Labels"] for found in client.containers(all=True, filters=ours)]
            volumes = client.volumes(filters=ours)["Volumes"] or []
        held += [found["Labels"] for found in volumes]
        return sorted({found[NODE_LABEL] for found in held if NODE_LABEL in found})

    def _list_networks(self) -> list[str]:
        with engine(self._engine) as client:
            return self._networks.names(client)

    def _remove_unused_network(self, name: str) -> None:
        with engine(self._engine) as client:
            self._networks.remove(client, name)

    def _is_ours(self, found: dict[str, Any] | None) -> bool:
        return found is not None and (found["Config"]["Labels"] or {}).get(OWNER_LABEL) == (
            self._owner
        )

    def _check_ours(self, found: dict[str, str] | None, what: str) -> None:
        if (found or {}).get(OWNER_LABEL) != self._owner:
            raise ProviderError(
                f"There is a {what} on the Docker engine that this installation has not made; "
                "it is left alone. Remove or rename it."
            )
