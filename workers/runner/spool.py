"""Bytes of a stream on this node's disk, in pieces that go once they have been delivered."""

from __future__ import annotations

import contextlib
import errno
import os
import threading

from workers.runner.order import LOG_STREAM_BYTES

SEGMENT_BYTES = 16 << 20


class SpoolBudget:
    """How many undelivered bytes the streams of this node may keep on its disk together."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.stream_limit_bytes = LOG_STREAM_BYTES
        """How long one of the streams may become."""
        self._lock = threading.Lock()
        self._taken_bytes = 0

    def take(self, wanted_bytes: int) -> int:
        """Take room for as many bytes as there is room for, and return how many."""
        with self._lock:
            granted = max(0, min(wanted_bytes, self.limit_bytes - self._taken_bytes))
            self._taken_bytes += granted
            return granted

    def give_back(self, count_bytes: int) -> None:
        """Give back the room of bytes that were delivered."""
        with self._lock:
            self._taken_bytes -= count_bytes

    def has_room(self, wanted_bytes: int) -> bool:
        """Whether so many bytes would be taken whole now."""
        with self._lock:
            return self._taken_bytes + wanted_bytes <= self.limit_bytes


class Spool:
    """An append-only file in segments.

    One whole segment stays after its delivery: the control plane may come back from a backup
    and ask for its last bytes again.

    Args:
        path: what the names of its files begin with.
    """

    def __init__(self, path: str) -> None:
        self.length_bytes = 0
        self.first_byte = 0
        """The earliest byte that is still here."""
        self._path = path

    def write(self, data: bytes) -> int:
        """Append as many of the bytes as go into one segment, and return how many.

        Raises:
            OSError: most likely the disk is full; what was written before counts.
        """
        index, used = divmod(self.length_bytes, SEGMENT_BYTES)
        with open(self._segment(index), "ab", buffering=0) as file:
            count = file.write(memoryview(data)[: SEGMENT_BYTES - used]) or 0
        self.length_bytes += count
        return count

    def read(self, *, offset: int, limit_bytes: int) -> bytes:
        """Return up to `limit_bytes` from `offset` on, of one segment.

        Raises:
            OSError: they are no longer there.
        """
        index, start = divmod(offset, SEGMENT_BYTES)
        limit_bytes = min(limit_bytes, self.length_bytes - offset)
        if limit_bytes <= 0:
            return b""
        with open(self._segment(index), "rb", buffering=0) as file:
            file.seek(start)
            data = file.read(limit_bytes)
        if not data:
            raise OSError(errno.ENODATA, "bytes of a stream are gone", file.name)
        return data

    def drop_before(self, offset: int) -> None:
        """Remove the segments that lie whole, and by a segment more, before a delivered byte."""
        keep = max(0, offset // SEGMENT_BYTES - 1)
        while self.first_byte < keep * SEGMENT_BYTES:
            with contextlib.suppress(OSError):
                os.unlink(self._segment(self.first_byte // SEGMENT_BYTES))
            self.first_byte += SEGMENT_BYTES

    def _segment(self, index: int) -> str:
        return f"{self._path}.{index:06d}"
