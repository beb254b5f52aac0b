"""What a provider of nodes can do: a minimal core of idempotent verbs."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class NodeSpec:
    """A node to be started.

    Attributes:
        name: deterministic name; starting the same name twice starts one node.
        endpoint: address of the API as the node reaches it.
        token: the node's credential.
        cores: cores that the node may use, for the libraries that ask.
        memory_bytes: memory that the node may use; 0: no limit.
        image: what a container is made of, as ``repository@digest`` or an image's id; None where
            nodes are no containers.
        gpus: how many GPUs it wants.
        gpu_ids: which ones, as many as `gpus`; empty: whichever the engine chooses.
        shared_memory_bytes: size of ``/dev/shm``; 0: the engine's own default.
        pids_limit: how many processes and threads it may have.
        network: name of the private network that it shares with its peers; None: the default one.
    """

    name: str
    endpoint: str
    token: str = field(repr=False)
    cores: float
    memory_bytes: int
    image: str | None = None
    gpus: int = 0
    gpu_ids: tuple[str, ...] = ()
    shared_memory_bytes: int = 0
    pids_limit: int = 4096
    network: str | None = None


@dataclass(frozen=True)
class Capacity:
    """What a host has to give."""

    cores: float
    memory_bytes: int
    gpus: int


class NotYetRemoved(Exception):
    """The node is going away but is not gone; call again."""


class ProviderError(Exception):
    """The provider could not do it; the message says why, for a person."""


class NodeRefused(ProviderError):
    """The node cannot be started as it was asked for; asking again is no use."""


class Provider(Protocol):
    """Where nodes live."""

    name: str

    async def capacity(self) -> Capacity:
        """What nodes may be carved out of."""

    async def ensure(self, spec: NodeSpec) -> None:
        """Start the node unless one of its name runs already (then it is adopted).

        Raises:
            NodeRefused: it can never be started as asked for; nothing of it is left.
            ProviderError: it could not be started now.
        """

    async def stop(self, name: str) -> None:
        """Ask the node to end in an orderly way; "already gone" is success."""

    async def remove(self, name: str) -> None:
        """End the node and everything it started, and its files; "already gone" is success.

        Raises:
            NotYetRemoved: something of it still runs; call again.
        """

    async def is_alive(self, name: str) -> bool:
        """Whether the node runs now."""

    async def address(self, name: str) -> str | None:
        """Where this machine reaches what listens on the node; None: it is not known now."""

    async def list_names(self) -> list[str]:
        """Names of all nodes of which anything is left, alive or not."""

    async def list_networks(self) -> list[str]:
        """Names of the private networks that exist."""

    async def remove_network(self, name: str) -> None:
        """Remove a private network that no node is in; "already gone" is success."""
