"""Bytes with times become lines: pure functions."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from app.logs.times import Pair

MAX_LINE_BYTES = 256 * 1024
"""A longer line is shown in pieces of so many bytes."""


class Line(NamedTuple):
    """A line of a stream, or a piece of a long one.

    Attributes:
        millis: when its first byte was written, since 1970.
        offset: of its first byte.
        end: of the first byte behind it, its newline included.
        data: without the newline.
        continues: whether more of the same line follows.
    """

    millis: int
    offset: int
    end: int
    data: bytes
    continues: bool


class LineSplitter:
    """Takes the pieces of one stream in order, and gives its lines.

    Args:
        offset: of the first byte that will come; a line begins there.
        skips_first: the bytes begin inside a line: leave out what comes before the next one.
    """

    def __init__(self, offset: int, *, skips_first: bool = False) -> None:
        self.offset = offset
        """Where the line begins that has no end yet."""
        self.rest = b""
        """What there is of that line."""
        self._rest_millis = 0
        self._skips = skips_first

    def feed(self, data: bytes, start: int, pairs: Sequence[Pair]) -> Iterator[Line]:
        """Lines that end in ``data``.

        Args:
            data: the next bytes of the stream.
            start: their offset.
            pairs: when they were written; the first holds for the first byte.
        """
        if start > self.offset + len(self.rest):
            # What was in between is kept no longer: begin anew with what there is.
            self.offset, self.rest, self._skips = start, b"", False
        if self._skips:
            cut = data.find(b"\n") + 1
            self.offset += cut or len(data)
            if not cut:
                return
            self._skips = False
            data, start = data[cut:], start + cut
        pieces = data.split(b"\n")
        index = 0
        position = start
        for piece in pieces[:-1]:
            index = _at(pairs, index, position)
            yield from self._finish(piece, pairs[index][1], is_ended=True)
            position += len(piece) + 1
        if pieces[-1]:
            index = _at(pairs, index, position)
            yield from self._finish(pieces[-1], pairs[index][1], is_ended=False)

    def skip(self, data: bytes, start: int, pairs: Sequence[Pair]) -> Iterator[Line]:
        """As `feed`, but leave out all lines that end in ``data``."""
        cut = data.rfind(b"\n") + 1
        if cut:
            self.rest, self._skips = b"", False
            self.offset = start + cut
            data, start = data[cut:], start + cut
        return self.feed(data, start, pairs)

    def flush(self, *, continues: bool) -> Iterator[Line]:
        """The last line, though it has no end.

        Args:
            continues: whether the stream may still grow.
        """
        if self.rest:
            end = self.offset + len(self.rest)
            yield Line(self._rest_millis, self.offset, end, self.rest, continues)
            self.offset, self.rest = end, b""

    def _finish(self, piece: bytes, millis: int, *, is_ended: bool) -> Iterator[Line]:
        if self.rest:
            piece, millis = self.rest + piece, self._rest_millis
        while len(piece) > MAX_LINE_BYTES:
            end = self.offset + MAX_LINE_BYTES
            yield Line(millis, self.offset, end, piece[:MAX_LINE_BYTES], continues=True)
            piece = piece[MAX_LINE_BYTES:]
            self.offset = end
        if is_ended:
            end = self.offset + len(piece) + 1
            yield Line(millis, self.offset, end, piece, continues=False)
            self.offset, self.rest = end, b""
        else:
            self.rest, self._rest_millis = piece, millis


def last_state(data: bytes) -> bytes:
    """What a terminal shows of a line in the end: what comes after its last carriage return."""
    return data.rstrip(b"\r").rsplit(b"\r", 1)[-1] if b"\r" in data else data


def shown(data: bytes) -> str:
    """A line as a terminal shows it in the end, as UTF-8.

    Bytes that are no UTF-8 become replacement characters.
    """
    return last_state(data).decode("utf-8", "replace")


def _at(pairs: Sequence[Pair], index: int, position: int) -> int:
    """Index of the pair that holds for a position, at or after ``index``."""
    while index + 1 < len(pairs) and pairs[index + 1][0] <= position:
        index += 1
    return index
