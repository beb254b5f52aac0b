"""What a provider of nodes can do: a minimal core of idempotent verbs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

LOCAL = "local"
"""The host beside the worker; the only one of a provider that has one."""


@dataclass(frozen=True)
class InputMount:
    """A volume with the content of an input, as a node sees it.

    Attributes:
        volume: its name; it was filled before.
        folder: where it is on the node, read-only.
    """

    volume: str
    folder: str


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
        host: the machine that it is to live on, one of the provider's.
        inputs: volumes of the same host that it reads; see `KeepsInputs`.
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
    host: str = LOCAL
    inputs: tuple[InputMount, ...] = ()


@dataclass(frozen=True)
class Capacity:
    """What a host has to give."""

    cores: float
    memory_bytes: int
    gpus: int


class HostState(StrEnum):
    """Whether nodes can be started on a host."""

    READY = "ready"
    DRAINED = "drained"
    """Its operator wants no more nodes there; those that run go on."""
    UNREACHABLE = "unreachable"
    """The control plane does not reach it; what runs there may go on."""
    DOWN = "down"
    """Those who watch it hear nothing of it."""
    UNKNOWN = "unknown"
    """It is not what the settings say that it is."""


@dataclass(frozen=True)
class Host:
    """A machine that nodes may live on.

    Attributes:
        name: by which it is asked for.
        capacity: what it has to give.
        state: whether it takes nodes.
        detail: why it does not, for a person.
        address: where its peers reach it, if that is known.
        labels: what its operator has written on it.
    """

    name: str
    capacity: Capacity
    state: HostState = HostState.READY
    detail: str = ""
    address: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


class NotYetRemoved(Exception):
    """The node is going away but is not gone; call again."""


class ProviderError(Exception):
    """The provider could not do it; the message says why, for a person."""


class NodeRefused(ProviderError):
    """The node cannot be started as it was asked for; asking again is no use."""


class VolumeMissing(ProviderError):
    """A volume with an input's content is not on the host; the message is its name."""


class HostLost(ProviderError):
    """The host of the node is down; nothing that runs there can be counted on any more."""


class ImageMissing(ProviderError):
    """The image that a node is to be made of is not there, and no registry has it.

    Attributes:
        reference: the image, as the node's specification names it.
    """

    def __init__(self, message: str, *, reference: str) -> None:
        super().__init__(message)
        self.reference = reference


class Provider(Protocol):
    """Where nodes live."""

    name: str

    async def capacity(self) -> Capacity:
        """What the host beside the worker has."""

    async def hosts(self) -> list[Host]:
        """The machines that nodes may live on, by name, whatever their state.

        Raises:
            ProviderError: nobody can say.
        """

    async def ensure(self, spec: NodeSpec) -> None:
        """Start the node unless one of its name runs already (then it is adopted).

        Raises:
            NodeRefused: it can never be started as asked for; nothing of it is left.
            VolumeMissing: a volume that it is to mount is not there.
            ProviderError: it could not be started now.
        """

    async def stop(self, name: str, *, host: str = LOCAL) -> None:
        """Ask the node to end in an orderly way; "already gone" is success.

        Raises:
            HostLost: its host is down.
        """

    async def remove(self, name: str, *, host: str | None = None) -> None:
        """End the node and everything it started, and its files; "already gone" is success.

        Args:
            name: the node.
            host: where it is; None: wherever it is found.

        Raises:
            NotYetRemoved: something of it still runs; call again.
            HostLost: its host is down.
            ProviderError: it, or something that it left, cannot be removed now.
        """

    async def is_alive(self, name: str, *, host: str = LOCAL) -> bool:
        """Whether the node runs now.

        Raises:
            HostLost: its host is down.
        """

    async def address(self, name: str) -> str | None:
        """Where this machine reaches what listens on the node; None: it is not known now."""

    async def list_names(self) -> list[str]:
        """Names of all nodes of which anything is left, alive or not, on hosts that answer."""

    async def list_networks(self) -> list[str]:
        """Names of the private networks that exist."""

    async def remove_network(self, name: str) -> None:
        """Remove a private network that no node is in; "already gone" is success."""


@runtime_checkable
class KeepsInputs(Protocol):
    """A provider that keeps inputs of runs on its hosts, in volumes that nodes mount read-only."""

    async def fill_volume(
        self, name: str, archive: Iterable[bytes], *, image: str, host: str = LOCAL
    ) -> None:
        """Make a volume anew with what a tar stream holds; when it fails there is none.

        Args:
            name: of the volume.
            archive: is read in a thread; what it raises is passed on.
            image: a container image that the host can have.
            host: where.

        Raises:
            NotYetRemoved: an older one of the name is in use.
            ProviderError: it could not be made.
        """

    async def list_volumes(self) -> list[str]:
        """Names of all such volumes, on hosts that answer."""

    async def remove_volume(self, name: str, *, host: str | None = None) -> None:
        """Remove a volume; "already gone" is success.

        Args:
            name: the volume.
            host: where it is; None: wherever it is found.

        Raises:
            NotYetRemoved: a node uses it.
        """
