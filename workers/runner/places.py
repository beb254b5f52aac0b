"""An address and ports of this node that no other node of the machine has at the same time.

Servers such as TensorFlow's listen on all addresses of the machine, so ports must differ between
nodes that share it. A name of the kernel's abstract socket space, which belongs to the network
namespace as ports do, is held for each one taken: it is free again exactly when the runner is gone.
"""

from __future__ import annotations

import hashlib
import os
import socket
from urllib.parse import urlsplit

from workers.runner.errors import PrepareError

LAST_PORT = 32767  # the kernel hands out those above to whoever asks for any
TRIES = 4096
PEERS_VIA = "TRAINWRIGHT_PEERS_VIA"
"""An address of the network that the nodes of a run share; set by the provider."""
_PREFIX = "\0trainwright-"


class Places:
    """What this node has taken; it is held until the process ends."""

    def __init__(self, node_name: str, *, endpoint_url: str) -> None:
        self._node_name = node_name
        self._endpoint_url = endpoint_url
        self._held: list[socket.socket] = []

    def take_address(self) -> str:
        """Return the address under which other nodes reach this one.

        It is the one that lies in their common network, where the provider has made one, else the
        one that faces the control plane. Where that is the loopback address, nodes share the
        machine, and each takes a loopback address of its own.
        """
        facing = self._facing_address()
        if not facing.startswith("127."):
            return facing
        start = int.from_bytes(hashlib.sha256(self._node_name.encode()).digest()[:4], "big")
        for number in range(start, start + TRIES):
            # 127.16.x.y to 127.239.x.y: away from those that people and systems use.
            address = f"127.{16 + number // 64516 % 224}.{number // 254 % 254}.{1 + number % 254}"
            if not _can_bind(address, 0):
                break  # only Linux answers to all of 127.0.0.0/8
            if self._hold(f"address-{address}"):
                return address
        return facing

    def take_ports(self, count: int, *, first: int) -> list[int]:
        """Return so many ports that nobody uses, the lowest from `first` on.

        Raises:
            PrepareError: there are not so many.
        """
        ports: list[int] = []
        for port in range(first, LAST_PORT + 1):
            if len(ports) == count:
                return ports
            # The name first: two runners that ask at once must not both find the port free.
            if self._hold(f"port-{port}"):
                if _can_bind("", port):
                    ports.append(port)
                else:
                    self._held.pop().close()
        if len(ports) == count:
            return ports
        raise PrepareError("no_free_port", f"no {count} free ports from {first} on")

    def _facing_address(self) -> str:
        parts = urlsplit(self._endpoint_url)
        host = os.environ.get(PEERS_VIA) or parts.hostname or "127.0.0.1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                # Sends nothing: it only chooses a route.
                probe.connect((host, parts.port or 80))
            except OSError as error:
                message = f"no route to {host}: {error.strerror}"
                raise PrepareError("no_address", message) from error
            return str(probe.getsockname()[0])

    def _hold(self, name: str) -> bool:
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            holder.bind(_PREFIX + name)
        except OSError:
            holder.close()
            return False
        self._held.append(holder)
        return True


def _can_bind(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # A port whose last connection is still fading away can be listened on.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
