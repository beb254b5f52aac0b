"""The private networks of nodes: on one engine, or across the engines of a swarm."""

import ipaddress
import threading
import time
from typing import Any, Protocol

from docker.errors import APIError

from app.providers.base import ProviderError
from app.providers.docker.container import NETWORK_LABEL, OWNER_LABEL
from app.providers.docker.engine import CONFLICT, NOT_FOUND, EngineAddress, engine, is_status, words

_FORBIDDEN = 403
_BAD_REQUEST = 400
_IN_USE = "in use"
_ADDRESSES_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_MAKING = threading.Lock()


class Networks(Protocol):
    """Makes networks and takes them away; `client` is one of the engine that the node is on."""

    def ensure(self, client: Any, name: str) -> str:
        """Make the network unless it is there; returns an address that lies in it."""

    def remove(self, client: Any, name: str) -> None:
        """Remove one of ours that nobody is in; the last one to leave removes it."""

    def names(self, client: Any) -> list[str]:
        """Ours."""


class BridgeNetworks:
    """Networks within one engine."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def ensure(self, client: Any, name: str) -> str:
        """A bridge of this name."""
        return ensure(client, name, owner=self._owner, driver="bridge")

    def remove(self, client: Any, name: str) -> None:
        """Remove it unless a node is in it, running or not."""
        peers = [f"{OWNER_LABEL}={self._owner}", f"{NETWORK_LABEL}={name}"]
        if not client.containers(all=True, filters={"label": peers}):
            remove(client, name, owner=self._owner)

    def names(self, client: Any) -> list[str]:
        """Ours on this engine."""
        return names(client, owner=self._owner)


class OverlayNetworks:
    """Networks across the engines of a swarm; its manager makes them, whichever engine asks."""

    def __init__(self, manager: EngineAddress, owner: str, *, is_encrypted: bool) -> None:
        self._manager = manager
        self._owner = owner
        self._options = {"encrypted": ""} if is_encrypted else {}

    def ensure(self, client: Any, name: str) -> str:
        """An overlay of this name that plain containers may join."""
        with engine(self._manager) as manager:
            return ensure(
                manager,
                name,
                owner=self._owner,
                driver="overlay",
                attachable=True,
                options=self._options,
            )

    def remove(self, client: Any, name: str) -> None:
        """Remove it; the manager refuses while a node of any engine is in it."""
        with engine(self._manager) as manager:
            remove(manager, name, owner=self._owner)

    def names(self, client: Any) -> list[str]:
        """Ours in the swarm."""
        with engine(self._manager) as manager:
            return names(manager, owner=self._owner)


def ensure(client: Any, name: str, *, owner: str, **options: Any) -> str:
    """Make a network unless it is there.

    Raises:
        ProviderError: there is one of the name that is not ours, or it got no addresses.
    """
    # An engine looks for a network of the name and then makes one: of two nodes of a run that are
    # started at once, both would make it, and neither name would be of use.
    with _MAKING:
        try:
            client.create_network(
                name, check_duplicate=True, labels={OWNER_LABEL: owner}, **options
            )
        except APIError as error:
            if not is_status(error, CONFLICT):
                raise
    found = client.inspect_network(name)
    if (found["Labels"] or {}).get(OWNER_LABEL) != owner:
        raise ProviderError(
            f"There is a network {name} on the Docker engine that this installation has not made; "
            "it is left alone. Remove or rename it."
        )
    ends_at = time.monotonic() + _ADDRESSES_SECONDS
    while not found["IPAM"]["Config"]:
        # A swarm gives a network its addresses a moment after it has made it.
        if time.monotonic() > ends_at:
            raise ProviderError(f"The network {name} got no addresses in time.")
        time.sleep(_LOOK_SECONDS)
        found = client.inspect_network(name)
    return first_address(found)


def remove(client: Any, name: str, *, owner: str) -> None:
    """Remove a network of ours unless somebody is in it."""
    try:
        if (client.inspect_network(name)["Labels"] or {}).get(OWNER_LABEL) == owner:
            client.remove_network(name)
    except APIError as error:
        is_in_use = is_status(error, _BAD_REQUEST) and _IN_USE in words(error)
        if not is_in_use and not is_status(error, NOT_FOUND, CONFLICT, _FORBIDDEN):
            raise


def names(client: Any, *, owner: str) -> list[str]:
    """Networks of ours."""
    found = client.networks(filters={"label": f"{OWNER_LABEL}={owner}"})
    return sorted(network["Name"] for network in found)


def first_address(network: dict[str, Any]) -> str:
    """The address of a network's gateway."""
    found = network["IPAM"]["Config"][0]
    # Older engines name only the subnet; its first address is the gateway then.
    subnet = ipaddress.ip_network(found["Subnet"], strict=False)
    return str(found.get("Gateway") or next(subnet.hosts()))
