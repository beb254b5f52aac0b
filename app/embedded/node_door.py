"""The second address on which the API listens when nodes are containers.

Containers cannot reach the loopback address of their host. The one they can reach belongs to the
engine's bridge; the API listens there too, and nowhere else: not on all addresses.
"""

import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from app.embedded.claims import listen
from app.embedded.errors import EmbeddedError

_ASK_SECONDS = 60.0
_DEFAULT_ENGINE = "unix:///var/run/docker.sock"


@contextmanager
def node_door(host: str, port: int) -> Iterator[socket.socket | None]:
    """Listen for containers, on the same port; None where that is not needed.

    Raises:
        EmbeddedError: the engine does not answer, or the address cannot be used.
    """
    if os.environ.get("TRAINWRIGHT_PROVIDER") != "docker":
        yield None
        return
    told = os.environ.get("TRAINWRIGHT_NODE_URL", "")
    address = _own_address(told, port) if told else _gateway()
    if address is None or host in ("0.0.0.0", address):  # noqa: S104 - compared only
        yield None
        return
    with listen(address, port) as listener:
        yield listener


def _own_address(url: str, port: int) -> str | None:
    """The address of a URL under which nodes reach this very server, if it is one of ours."""
    parts = urlsplit(url)
    try:
        address = str(ipaddress.ip_address(parts.hostname or ""))
        with socket.create_server((address, 0)):
            return address if (parts.scheme, parts.port or 80) == ("http", port) else None
    except (ValueError, OSError):
        return None  # a name, or another machine: somebody else passes it on to us


def _gateway() -> str:
    # In a process of its own: the supervisor stays free of the engine's client.
    url = os.environ.get("TRAINWRIGHT_DOCKER_URL") or _DEFAULT_ENGINE
    try:
        asked = subprocess.run(
            [sys.executable, "-P", "-m", "app.providers.docker.gateway", url],
            capture_output=True,
            text=True,
            timeout=_ASK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EmbeddedError(f"the Docker engine at {url} does not answer") from None
    if asked.returncode != 0:
        raise EmbeddedError(asked.stderr.strip() or f"no Docker engine answers at {url}")
    return asked.stdout.strip()
