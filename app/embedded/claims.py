"""What a stack holds while it runs: its data folder, and its address."""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.embedded.errors import AlreadyRunning, EmbeddedError, PortTaken

_BACKLOG = 2048
# A supervisor killed a moment ago may have children that are only just ending.
_RETRY_SECONDS = 1.5
_RETRY_EVERY_SECONDS = 0.05


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`, with our process id in it.

    Raises:
        AlreadyRunning: somebody else holds it.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunning(
                f"a stack is already running on {path.parent} ({_holder(file.read())}): "
                f"stop it first, or choose another folder with --data-dir."
            ) from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid()}))
        file.flush()
        yield


def _holder(content: str) -> str:
    try:
        return f"process {json.loads(content)['pid']}"
    except (ValueError, KeyError, TypeError):
        return "process unknown"


def listen(host: str, port: int) -> socket.socket:
    """Listen on `host` and `port` (0: a free one).

    The supervisor owns the socket and hands it to the API: while that restarts, clients wait
    instead of being refused, and nobody can take the port.

    Raises:
        PortTaken: somebody else listens there.
        EmbeddedError: the address cannot be used for another reason.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise EmbeddedError(f"--host {host}: {error.strerror}") from None
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        try:
            return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise EmbeddedError(f"cannot listen on {host}:{port}: {error.strerror}") from None
            if time.monotonic() > deadline:
                raise PortTaken(
                    f"port {port} on {host} is taken by another program: "
                    f"choose another with --port, or --port 0 for a free one."
                ) from None
        time.sleep(_RETRY_EVERY_SECONDS)
