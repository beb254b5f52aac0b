"""The bytes of one stream with the times of their writing, growing or sealed."""

from collections.abc import AsyncIterator, Sequence

from app.kernel.db import Database
from app.logs import repository
from app.logs.times import PAIR_BYTES, Pair, between, unpacked
from app.storage.objects import ObjectStore
from app.tables.log import LogStream

_PIECE_BYTES = 64 * 1024
_PAIRS_AT_ONCE = 4096
MOST_CHUNKS = 16

Piece = tuple[int, bytes, Sequence[Pair]]
"""An offset, bytes, and when they were written; the first pair holds for the first byte."""


class TimedReader:
    """Reads one stream.

    Args:
        database: where growing streams are.
        objects: where sealed ones are.
        stream: its row, as it was when the reading began.
        chunks_at_once: so many are in memory while it is read; small pieces of a sealed one.
    """

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        stream: LogStream,
        *,
        chunks_at_once: int = MOST_CHUNKS,
    ) -> None:
        self._chunks_at_once = chunks_at_once
        self._database = database
        self._objects = objects
        self._stream = stream
        self._unknown = int(stream.created_at.timestamp() * 1000)
        """The moment of bytes whose time nobody noted."""

    async def pieces(self, start: int) -> AsyncIterator[Piece]:
        """Small pieces from ``start`` to the length that the row had.

        Between two of them no session is held, and no file is open.
        """
        end = self._stream.length_bytes
        start = max(start, self._stream.first_byte)
        if start >= end:
            return
        source = self._growing(start)
        if self._stream.sha256 is not None:
            source = self._sealed(self._stream.sha256, start)
        async for offset, data, pairs in source:
            # Bytes may have come since the row was read, chunks that begin behind its end too.
            known = data[: max(0, end - offset)]
            for cut in range(0, len(known), _PIECE_BYTES):
                first = offset + cut
                piece = known[cut : cut + _PIECE_BYTES]
                yield first, piece, between(pairs, first, first + len(piece))

    async def offset_at(self, millis: int) -> int:
        """Offset of the first byte that was written at this moment or later."""
        if self._stream.sha256 is None:
            return await self._growing_offset_at(millis)
        if self._stream.times_sha256 is None:
            return 0 if self._unknown >= millis else self._stream.length_bytes
        low, high = 0, await self._objects.size(self._stream.times_sha256) // PAIR_BYTES
        while low < high:
            middle = (low + high) // 2
            ((_, moment),) = await self._pairs(middle, 1)
            if moment < millis:
                low = middle + 1
            else:
                high = middle
        found = await self._pairs(low, 1)
        return found[0][0] if found else self._stream.length_bytes

    async def last_lines_offset(self, count: int) -> int:
        """Offset at which the last ``count`` lines begin."""
        stop = self._stream.length_bytes
        first = self._stream.first_byte
        newlines = -1
        while stop > first:
            start = max(first, stop - 4 * _PIECE_BYTES)
            data = await self._bytes(start, stop)
            if newlines < 0:
                # The newline at the very end ends the last line, and begins none.
                newlines = -1 if data.endswith(b"\n") else 0
            place = len(data)
            while newlines < count and (place := data.rfind(b"\n", 0, place)) >= 0:
                newlines += 1
            if newlines >= count:
                return start + place + 1
            stop = start
        return first

    async def _growing(self, start: int) -> AsyncIterator[Piece]:
        stream = self._stream
        position = start
        while position < stream.length_bytes:
            async with self._database.session() as session:
                rows = await repository.read_timed_chunks(
                    session, stream.owner, stream.attempt, stream.name,
                    start=position, limit=self._chunks_at_once,
                )  # fmt: skip
            if not rows:
                # Sealed since the row was read: its bytes are an object now.
                async with self._database.session() as session:
                    row = await repository.find_stream(
                        session, stream.owner, stream.attempt, stream.name
                    )
                if row is None or row.sha256 is None:
                    return
                later = TimedReader(self._database, self._objects, row)
                async for piece in later.pieces(position):
                    yield piece
                return
            for offset, data, times in rows:
                skipped = max(0, position - offset)
                pairs = unpacked(times or b"") or [(offset, self._unknown)]
                if skipped < len(data):
                    yield offset + skipped, bytes(data[skipped:]), pairs
                    position = offset + len(data)

    async def _growing_offset_at(self, millis: int) -> int:
        stream = self._stream
        after = -1
        while True:
            async with self._database.session() as session:
                rows = await repository.read_times(
                    session, stream.owner, stream.attempt, stream.name, after=after
                )
            if not rows:
                return stream.length_bytes
            for offset, times in rows:
                after = offset
                for place, moment in unpacked(times or b"") or [(offset, self._unknown)]:
                    if moment >= millis:
                        return place

    async def _sealed(self, sha256: str, start: int) -> AsyncIterator[Piece]:
        position = start
        pairs: list[Pair] = []
        index = await self._first_pair(start)
        gone = self._stream.first_byte
        range_bytes = _PIECE_BYTES * self._chunks_at_once
        while position < self._stream.length_bytes:
            end = min(position + range_bytes, self._stream.length_bytes)
            # Read to its end: thousands of streams that wait for their turn are no open files.
            data = await self._object(sha256, position - gone, end - gone)
            while index is not None and (not pairs or pairs[-1][0] < end):
                more = await self._pairs(index, _PAIRS_AT_ONCE)
                if not more:
                    index = None
                    break
                pairs += more
                index += len(more)
            yield position, data, pairs or [(position, self._unknown)]
            pairs = between(pairs, end, pairs[-1][0] + 1) if pairs else []
            position = end

    async def _first_pair(self, offset: int) -> int | None:
        """Index of the pair that holds for a byte of a sealed stream."""
        if self._stream.times_sha256 is None:
            return None
        low, high = 0, await self._objects.size(self._stream.times_sha256) // PAIR_BYTES
        while low < high:
            middle = (low + high) // 2
            ((place, _),) = await self._pairs(middle, 1)
            if place <= offset:
                low = middle + 1
            else:
                high = middle
        return max(0, low - 1)

    async def _pairs(self, index: int, count: int) -> list[Pair]:
        assert self._stream.times_sha256 is not None
        start, end = index * PAIR_BYTES, (index + count) * PAIR_BYTES
        return unpacked(await self._object(self._stream.times_sha256, start, end))

    async def _object(self, sha256: str, start: int, end: int) -> bytes:
        pieces = await self._objects.open(sha256, start=start, end=end)
        return b"".join([piece async for piece in pieces])

    async def _bytes(self, start: int, stop: int) -> bytes:
        found = bytearray()
        async for _, data, _ in self.pieces(start):
            found += data[: stop - start - len(found)]
            if len(found) >= stop - start:
                break
        return bytes(found)
