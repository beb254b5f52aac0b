"""A stream of bytes on its way to the control plane, kept whole in the node's spool."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

HELD_BYTES = 16 << 20
TAIL_BYTES = 64 << 10
TAIL_LINES = 20
TAIL_LINE_CHARACTERS = 1000


class Stream:
    """An append-only spool file with the length and SHA-256 of everything in it.

    When the disk is full, bytes wait in memory; beyond `HELD_BYTES` they are dropped and the
    stream says how many, so that the process that writes is never held up.

    Args:
        name: the stream's name in the run's logs.
        path: its spool file.
        on_growth: called after bytes were added, outside any lock.
    """

    def __init__(self, *, name: str, path: str, on_growth: Callable[[], None]) -> None:
        self.name = name
        self.length_bytes = 0
        self.grown_at = time.monotonic()
        """When bytes came last, on the monotonic clock; at first, when it was made."""
        self._path = path
        self._on_growth = on_growth
        self._lock = threading.Lock()
        self._digest = hashlib.sha256()
        self._held = bytearray()
        self._lost_bytes = 0
        self._is_sealed = False

    def append(self, data: bytes) -> None:
        """Add bytes at the end; does nothing once sealed."""
        with self._lock:
            if self._is_sealed:
                return
            self.grown_at = time.monotonic()
            room = HELD_BYTES - len(self._held)
            self._held += data[:room]
            self._lost_bytes += max(0, len(data) - room)
            self._flush()
        self._on_growth()

    def read(self, *, offset: int, limit_bytes: int) -> bytes:
        """Return up to `limit_bytes` of what is in the spool from `offset` on."""
        with open(self._path, "rb", buffering=0) as spool:
            spool.seek(offset)
            return spool.read(min(limit_bytes, self.length_bytes - offset))

    def seal(self) -> dict[str, int | str]:
        """Take no more bytes, and return the final length in bytes and SHA-256."""
        with self._lock:
            self._is_sealed = True
            return {"length_bytes": self.length_bytes, "sha256": self._digest.hexdigest()}

    def last_lines(self) -> list[str]:
        """Return the last lines as text, each as a terminal would show it in the end."""
        if not self.length_bytes:
            return []
        start = max(0, self.length_bytes - TAIL_BYTES)
        text = self.read(offset=start, limit_bytes=TAIL_BYTES).decode("utf-8", "replace")
        lines = text.split("\n")
        if lines and not lines[-1]:
            lines.pop()
        shown = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines[-TAIL_LINES:]]
        return [line[:TAIL_LINE_CHARACTERS].replace("\0", "\ufffd") for line in shown]

    def _flush(self) -> None:
        try:
            with open(self._path, "ab", buffering=0) as spool:
                while self._held:
                    self._wrote(spool.write(self._held) or 0)
                if self._lost_bytes:
                    note = b"\n[trainwright] %d bytes lost: the node's disk was full\n"
                    self._held += note % self._lost_bytes
                    self._lost_bytes = 0
                    self._wrote(spool.write(self._held) or 0)
        except OSError:
            # Most likely no space left: the bytes stay held, the next append tries again.
            return

    def _wrote(self, count: int) -> None:
        self._digest.update(memoryview(self._held)[:count].tobytes())
        del self._held[:count]
        self.length_bytes += count
