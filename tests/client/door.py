"""A way to a server that can be broken in the middle, as networks are."""

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Door:
    """Passes connections on to a server.

    Args:
        address: of the server.
        listening: the socket that is reached; by default one of this machine's own.
    """

    def __init__(self, address: str, listening: socket.socket | None = None) -> None:
        parts = urlsplit(address)
        self._server = (parts.hostname or "", parts.port or 0)
        self._listening = listening or socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_shut = False
        self._left: int | None = None
        self._shuts = False
        self._delay_seconds = 0.0
        self.passed = 0
        self.cuts = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        self._thread.join(timeout=10)

    @property
    def address(self) -> str:
        """Where the server is reached through this."""
        host, port = self._listening.getsockname()
        return f"http://{host}:{port}"

    def cut(self) -> None:
        """Break all connections."""
        with self._lock:
            broken, self._open = self._open, set()
            self.cuts += bool(broken)
        for end in broken:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut_after(self, count: int) -> None:
        """Break all connections once so many more bytes have passed, in both directions."""
        with self._lock:
            self._left = count

    def shut_after(self, count: int) -> None:
        """Break all connections once so many more bytes have passed, and refuse new ones."""
        self._shuts = True
        self.cut_after(count)

    def shut(self) -> None:
        """Break all, and refuse new ones until `reopen`."""
        self._is_shut = True
        self.cut()

    def reopen(self) -> None:
        """Pass connections on again."""
        self._is_shut = self._shuts = False

    def delay(self, seconds: float) -> None:
        """Hold up whatever passes, 64 KiB at a time, for so long; 0: no more."""
        self._delay_seconds = seconds

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self._is_shut:
                client.close()
                continue
            server = socket.create_connection(self._server)
            with self._lock:
                self._open |= {client, server}
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(64 * 1024):
                if self._delay_seconds:
                    time.sleep(self._delay_seconds)
                target.sendall(data)
                if self._is_spent(len(data)):
                    self._is_shut = self._shuts
                    self.cut()
                    return
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_spent(self, count: int) -> bool:
        with self._lock:
            self.passed += count
            if self._left is None:
                return False
            self._left -= count
            if self._left > 0:
                return False
            self._left = None
            return True
