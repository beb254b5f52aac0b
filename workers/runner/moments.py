"""When the bytes of a stream were written: pairs of an offset and a moment."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_right

RESOLUTION_MILLIS = 10


class Moments:
    """The pairs of one stream, in order; at most one every `RESOLUTION_MILLIS`."""

    def __init__(self) -> None:
        self._offsets = array("Q")
        self._millis = array("Q")

    def note(self, offset: int) -> None:
        """Note that bytes from `offset` on are written now; time never goes back here."""
        now = int(time.time() * 1000)
        if not self._millis or now >= self._millis[-1] + RESOLUTION_MILLIS:
            self._offsets.append(offset)
            self._millis.append(now)

    def between(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the pairs of the bytes from `start` to before `stop`, offsets from `start` on."""
        first = max(0, bisect_right(self._offsets, start) - 1)
        last = bisect_right(self._offsets, stop - 1)
        return [
            (max(0, self._offsets[index] - start), self._millis[index])
            for index in range(first, last)
        ]

    def forget_before(self, offset: int) -> None:
        """Drop the pairs of bytes before `offset`."""
        count = bisect_right(self._offsets, offset) - 1
        if count > 0:
            del self._offsets[:count]
            del self._millis[:count]
