"""The second address on which the API listens when nodes are containers.

Containers cannot reach the loopback address of their host. The one they can reach belongs to the
engine's bridge; the API listens there too, and nowhere else: not on all addresses.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
    wants_containers = os.environ.get("TRAINWRIGHT_PROVIDER") == "docker"
    is_told = bool(os.environ.get("TRAINWRIGHT_NODE_URL"))
    if not wants_containers or is_told:
        yield None
        return
    address = _gateway()
    if host in ("0.0.0.0", address):  # noqa: S104 - somebody else's choice, compared only
        yield None
        return
    with listen(address, port) as listener:
        yield listener


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
