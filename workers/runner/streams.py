"""A stream of bytes on its way to the control plane, kept whole in the node's spool."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable

from workers.runner.moments import Moments
from workers.runner.redaction import RedactedFlow, Redactor
from workers.runner.spool import Spool, SpoolBudget

HELD_BYTES = 16 << 20
WRITE_BYTES = 1 << 20
TAIL_BYTES = 64 << 10
_FULL = b"\n[trainwright] the log is as long as it may be; what follows is not kept\n"
TAIL_LINES = 20
TAIL_LINE_CHARACTERS = 1000


class Stream:
    """An append-only stream with the length and SHA-256 of everything in it.

    What was not delivered yet waits in the spool. When the disk is full it waits in memory, up
    to `HELD_BYTES`; what finds no room, there or in the budget of the spool, is dropped and the
    stream says how many bytes, so that the process that writes is never held up.

    Args:
        name: the stream's name in the run's logs.
        path: what the names of its spool files begin with.
        budget: of the spool.
        on_growth: called after bytes were added, outside any lock.
        redactor: knows what may not be in it.
    """

    def __init__(
        self,
        *,
        name: str,
        path: str,
        budget: SpoolBudget,
        on_growth: Callable[[], None],
        redactor: Redactor,
    ) -> None:
        self.name = name
        self.grown_at = time.monotonic()
        """When bytes came last, on the monotonic clock; at first, when it was made."""
        self._spool = Spool(path)
        self._budget = budget
        self._on_growth = on_growth
        self._flow = RedactedFlow(redactor)
        self._lock = threading.Lock()
        self._digest = hashlib.sha256()
        self._moments = Moments()
        self._held = bytearray()
        self._lost_bytes = 0
        self._is_full = False
        self._delivered_bytes = 0
        self._is_sealed = False

    @property
    def length_bytes(self) -> int:
        """How many bytes it has."""
        return self._spool.length_bytes

    @property
    def first_byte(self) -> int:
        """The earliest byte that can still be read."""
        return self._spool.first_byte

    def has_room(self, count_bytes: int) -> bool:
        """Whether so many bytes would be kept whole, did they come now."""
        return self._budget.has_room(count_bytes)

    def append(self, data: bytes) -> None:
        """Add bytes at the end; does nothing once sealed."""
        self.grown_at = time.monotonic()
        with self._lock:
            if self._is_sealed:
                return
            self._hold(self._flow.feed(data))
            self._flush()
        self._on_growth()

    def read(self, *, offset: int, limit_bytes: int) -> bytes:
        """Return up to `limit_bytes` of what is in the spool from `offset` on."""
        return self._spool.read(offset=offset, limit_bytes=limit_bytes)

    def moments(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return when the bytes were written: pairs of an offset from `start` on, and millis."""
        with self._lock:
            return self._moments.between(start, stop)

    def delivered(self, offset: int) -> None:
        """Note that all bytes before `offset` are safe; their room is free again."""
        with self._lock:
            if offset > self._delivered_bytes:
                self._budget.give_back(offset - self._delivered_bytes)
                self._delivered_bytes = offset
                self._spool.drop_before(offset)
                self._moments.forget_before(self._spool.first_byte)

    def seal(self) -> dict[str, int | str]:
        """Take no more bytes, and return the final length in bytes and SHA-256."""
        with self._lock:
            self._hold(self._flow.flush())
            self._flush()
            self._is_sealed = True
            return {"length_bytes": self.length_bytes, "sha256": self._digest.hexdigest()}

    def end(self) -> None:
        """Take no more bytes: nobody will have them."""
        with self._lock:
            self._is_sealed = True
            self._budget.give_back(self.length_bytes + len(self._held) - self._delivered_bytes)
            self._delivered_bytes = self.length_bytes
            self._spool.drop_before(self.length_bytes)
            self._held.clear()

    def last_lines(self) -> list[str]:
        """Return the last lines as text, each as a terminal would show it in the end.

        Without those that a script has removed from the spool.
        """
        place = max(self.first_byte, self.length_bytes - TAIL_BYTES)
        tail = b""
        with contextlib.suppress(OSError):
            while piece := self.read(offset=place + len(tail), limit_bytes=TAIL_BYTES):
                tail += piece
        lines = tail.decode("utf-8", "replace").split("\n")
        if lines and not lines[-1]:
            lines.pop()
        shown = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines[-TAIL_LINES:]]
        return [line[:TAIL_LINE_CHARACTERS].replace("\0", "\ufffd") for line in shown]

    def _hold(self, data: bytes) -> None:
        room = self._budget.stream_limit_bytes - self.length_bytes - len(self._held)
        if len(data) > room:
            data = b"" if self._is_full else data[: max(0, room)] + _FULL
            self._is_full = True
        granted = self._budget.take(min(len(data), HELD_BYTES - len(self._held)))
        if granted:
            self._moments.note(self.length_bytes + len(self._held))
        self._held += data[:granted]
        self._lost_bytes += len(data) - granted

    def _flush(self) -> None:
        try:
            self._write_held()
            if self._lost_bytes:
                note = b"\n[trainwright] %d bytes lost: the node's disk or spool was full\n"
                data = note % self._lost_bytes
                if not self._budget.has_room(len(data)):
                    return
                self._budget.take(len(data))
                self._lost_bytes = 0
                self._held += data
                self._write_held()
        except OSError:
            # Most likely no space left: the bytes stay held, the next append tries again.
            return

    def _write_held(self) -> None:
        while self._held:
            count = self._spool.write(bytes(self._held[:WRITE_BYTES]))
            self._digest.update(memoryview(self._held)[:count].tobytes())
            del self._held[:count]
