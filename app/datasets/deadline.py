"""A deadline for everything one fetch does on the network, however slowly bytes drip in.

Socket timeouts start again with every byte received; a server that sends one header byte now and
then would hold a thread for ever. At the deadline the connection itself is shut down.
"""

import socket
import threading
import time
from types import TracebackType
from typing import Any, Self

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class Deadline:
    """A context manager; inside, connections made by `pool_classes` end at the deadline.

    Args:
        seconds: from entering the block.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at = 0.0
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._shut_down)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._ends_at = time.monotonic() + self._seconds
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for handle in self._sockets:
                handle.close()
            self._sockets.clear()

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._ends_at

    @property
    def left_seconds(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self._ends_at - time.monotonic())

    def watch(self, connection: socket.socket) -> socket.socket:
        """Shut this connection down at the deadline, also when TLS wraps it later."""
        with self._lock:
            self._sockets.append(connection.dup())
        return connection

    def pool_classes(self) -> dict[str, Any]:
        """Connection pools for a urllib3 pool manager whose sockets are watched."""
        deadline = self

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return deadline.watch(super()._new_conn())

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return deadline.watch(super()._new_conn())

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        return {"http": PlainPool, "https": SecurePool}

    def _shut_down(self) -> None:
        with self._lock:
            for handle in self._sockets:
                try:
                    handle.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
