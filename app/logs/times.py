"""When the bytes of a stream were written: pairs of an offset and a moment, in order.

A pair holds from its offset to the next one's. Moments are milliseconds since 1970; a runner
notes one at most every few milliseconds, so the pairs are few beside the bytes.
"""

import re
import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence

PAIR_BYTES = 16
_PAIR = struct.Struct("<Qq")
_MOST_HEADER_PAIRS = 1000
_WRITTEN = re.compile(r"(\d{1,10})@(\d{1,14})")

Pair = tuple[int, int]
"""An offset in the stream and milliseconds since 1970."""


def packed(pairs: Iterable[Pair]) -> bytes:
    """The pairs as bytes, `PAIR_BYTES` each."""
    return b"".join(_PAIR.pack(*pair) for pair in pairs)


def unpacked(data: bytes) -> list[Pair]:
    """The pairs behind bytes that `packed` made; a torn last one is left out."""
    whole = len(data) - len(data) % PAIR_BYTES
    return [(offset, moment) for offset, moment in _PAIR.iter_unpack(data[:whole])]


def parse_header(text: str) -> list[Pair]:
    """The pairs of a runner's header ``Log-Times``: ``0@1764000000000 120@1764000000051``.

    Offsets are within the request's bytes. What is not of this form is left out: the bytes are
    worth more than their times.
    """
    pairs: list[Pair] = []
    for word in text.split(" ", _MOST_HEADER_PAIRS)[:_MOST_HEADER_PAIRS]:
        match = _WRITTEN.fullmatch(word)
        if match is not None:
            pairs.append((int(match[1]), int(match[2])))
    return pairs


def placed(pairs: Sequence[Pair], *, start: int, offset: int, now_millis: int) -> list[Pair]:
    """Pairs of bytes that were sent, in the stream's own offsets.

    Args:
        pairs: with offsets within what was sent.
        start: where in the stream the sent bytes begin.
        offset: where those of them begin that are new.
        now_millis: nothing was written later; also the moment of bytes that came without one.

    Returns:
        Pairs from ``offset`` on, in order, the first at ``offset`` itself.
    """
    found: list[Pair] = []
    latest = 0
    first = None
    for within, moment in sorted(pairs):
        # Clocks of nodes jump; within a stream time only goes forward.
        latest = max(latest, min(moment, now_millis))
        if start + within <= offset:
            first = latest
        else:
            found.append((start + within, latest))
    return [(offset, now_millis if first is None else first), *found]


def between(pairs: Sequence[Pair], start: int, stop: int) -> list[Pair]:
    """The pairs of the bytes from ``start`` to before ``stop``, the first at ``start`` itself."""
    index = bisect_right(pairs, start, key=lambda pair: pair[0])
    first = pairs[index - 1][1] if index else pairs[0][1]
    return [(start, first), *(pair for pair in pairs[index:] if pair[0] < stop)]
