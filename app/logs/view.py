"""Lines of several streams merged by time: as they are now, the last ones, or followed."""

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from app.kernel.clock import utc_now
from app.kernel.db import Database
from app.kernel.signals import Signals
from app.logs import repository
from app.logs.cursors import Cursor
from app.logs.lines import Line, LineSplitter
from app.logs.query import LineQuery
from app.logs.repository import MERGED
from app.logs.service import LOG_TOPIC
from app.logs.timed import MOST_CHUNKS, TimedReader
from app.logs.times import Pair
from app.storage.objects import ObjectStore
from app.tables.log import LogStream

_POLL_SECONDS = 1.0
_BATCH_BYTES = 64 * 1024
_BATCH_LINES = 1000
_MAX_TAIL_BYTES = 64 * 1024**2
"""The last lines wait in memory: of very long ones there are fewer."""


class Shown(NamedTuple):
    """A line, the stream that it is of, and the place behind it in all streams, if asked for."""

    stream: LogStream
    line: Line
    cursor: str


class _Merged(NamedTuple):
    """A line, the stream that it is of, and places that changed since the line before it."""

    stream: LogStream
    line: Line
    moved: dict[int, int]


_Head = tuple[int, int, Line, AsyncIterator[Line], LogStream]


class LogView:
    """The lines of an owner that a client wants.

    Args:
        database: where growing streams are.
        objects: where sealed ones are.
        owner: id of the run, image or deployment.
        wants: says of a stream whether it is looked at.
        query: which lines.
        has_cursors: whether lines are given with the places behind them.
    """

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        *,
        owner: str,
        wants: Callable[[LogStream], bool],
        query: LineQuery,
        has_cursors: bool,
    ) -> None:
        self._database = database
        self._objects = objects
        self._owner = owner
        self._wants = wants
        self._query = query
        self._has_cursors = has_cursors
        self._places: dict[int, int] = dict(query.after or {})
        self._moved: dict[int, int] = {}
        """Places that changed since the last line."""
        self._cursor = Cursor({})
        self._is_over = False
        self._was_there = False
        self._is_gone = False

    async def streams(self) -> list[LogStream]:
        """The streams that are looked at, as they are now."""
        async with self._database.session() as session:
            rows = await repository.list_streams(session, self._owner)
        self._is_gone = self._was_there and not rows
        self._was_there = self._was_there or bool(rows)
        merged = [row for row in rows if row.name == MERGED]
        # A stream that is gone needs no place in the ids of lines.
        known = {row.id for row in rows}
        self._places = {id_: place for id_, place in self._places.items() if id_ in known}
        self._is_over = bool(merged) and merged[0].sha256 is not None
        return [row for row in rows if row.name != MERGED and self._wants(row)]

    async def is_read(self) -> bool:
        """Whether the log is sealed and the client has all of it."""
        rows = await self.streams()
        return self._is_over and all(
            max(self._places.get(row.id, 0), row.first_byte) >= row.length_bytes for row in rows
        )

    async def batches(self, *, follow: bool, signals: Signals) -> AsyncIterator[list[Shown]]:
        """Lines in the order of their time, some at a time; an empty batch: nothing came lately.

        Args:
            follow: go on until the log is sealed, or gone; what comes later is merged as it comes.
            signals: tells of new bytes; without one the streams are looked at once a second.
        """
        with signals.subscribe(LOG_TOPIC, self._owner) as subscription:
            rows = await self.streams()
            await self._begin(rows)
            if self._query.tail is not None and self._query.after is None:
                last = await self._last(rows, is_final=self._is_over or not follow)
                for shown in self._shown(last):
                    yield shown
            while True:
                is_final = self._is_over or not follow or self._is_past()
                async for batch in self._pass(rows, is_final=is_final):
                    for shown in self._shown(batch):
                        yield shown
                if is_final:
                    return
                if not await subscription.wait(timeout_seconds=_POLL_SECONDS):
                    yield []
                rows = await self.streams()
                if self._is_gone:
                    return  # deleted with its owner

    async def _begin(self, rows: Sequence[LogStream]) -> None:
        """Find where to begin in each stream."""
        query = self._query
        for row in rows:
            if row.id in self._places or query.tail is None or query.after is not None:
                continue
            if query.tail == 0:
                self._places[row.id] = row.length_bytes
            elif query.pattern is None and query.until_millis is None:
                reader = TimedReader(self._database, self._objects, row)
                self._places[row.id] = await reader.last_lines_offset(query.tail)

    async def _last(self, rows: Sequence[LogStream], *, is_final: bool) -> Sequence[_Merged]:
        last: deque[_Merged] = deque()
        most_lines = self._query.tail or 0
        held_bytes = 0
        async for batch in self._pass(rows, is_final=is_final):
            for merged in batch:
                last.append(merged)
                held_bytes += len(merged.line.data)
                while len(last) > most_lines or held_bytes > _MAX_TAIL_BYTES:
                    dropped = last.popleft()
                    held_bytes -= len(dropped.line.data)
                    self._cursor.move(dropped.moved)
        return last

    def _shown(self, lines: Iterable[_Merged]) -> Iterator[list[Shown]]:
        """Lines with their cursors, some at a time: those of many streams are long."""
        batch: list[Shown] = []
        size = 0
        for stream, line, moved in lines:
            text = ""
            if self._has_cursors:
                self._cursor.move(moved)
                text = self._cursor.text()
            batch.append(Shown(stream, line, text))
            size += len(line.data) + len(text)
            if size >= _BATCH_BYTES or len(batch) >= _BATCH_LINES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _is_past(self) -> bool:
        until = self._query.until_millis
        return until is not None and until < utc_now().timestamp() * 1000

    async def _pass(
        self, rows: Sequence[LogStream], *, is_final: bool
    ) -> AsyncIterator[list[_Merged]]:
        """Merge what there is between the places and the lengths of these streams."""
        heads: list[_Head] = []
        untold = {row.id for row in rows if not _is_told(row, self._places.get(row.id, 0))}
        told = {stream: place for stream, place in self._places.items() if stream not in untold}
        self._cursor, self._moved = Cursor(told), {}
        # All of them wait in memory for their turn.
        chunks_at_once = max(1, MOST_CHUNKS // max(1, len(rows)))
        for row in rows:
            lines = self._lines(row, is_final=is_final, chunks_at_once=chunks_at_once)
            first = await anext(lines, None)
            if first is not None:
                heads.append((first.millis, row.id, first, lines, row))
        heapq.heapify(heads)
        batch: list[_Merged] = []
        size = 0
        while heads:
            _, number, line, lines, row = heads[0]
            self._places[number] = self._moved[number] = line.end
            batch.append(_Merged(row, line, self._moved))
            self._moved = {}
            size += len(line.data)
            if size >= _BATCH_BYTES or len(batch) >= _BATCH_LINES:
                yield batch
                batch, size = [], 0
            following = await anext(lines, None)
            if following is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (following.millis, number, following, lines, row))
        if batch:
            yield batch

    async def _lines(
        self, row: LogStream, *, is_final: bool, chunks_at_once: int
    ) -> AsyncIterator[Line]:
        reader = TimedReader(self._database, self._objects, row, chunks_at_once=chunks_at_once)
        splitter = await self._splitter(reader, row)
        until = self._query.until_millis
        async for offset, data, pairs in reader.pieces(splitter.offset):
            for line in self._split(splitter, offset, data, pairs):
                if until is not None and line.millis > until:
                    return
                if self._is_wanted(line):
                    yield line
            await asyncio.sleep(0)
        if is_final:
            for line in splitter.flush(continues=row.sha256 is None):
                if self._is_wanted(line):
                    yield line
        # Lines that are not wanted need not be looked at again.
        place = self._places[row.id] = max(self._places.get(row.id, 0), splitter.offset)
        if _is_told(row, place):
            self._moved[row.id] = place

    async def _splitter(self, reader: TimedReader, row: LogStream) -> LineSplitter:
        since = self._query.since_millis
        if row.id not in self._places and since is not None:
            start = await reader.offset_at(since)
            if start > 0:
                # From the byte before on: if it ends a line, the first line is a whole one.
                return LineSplitter(start - 1, skips_first=True)
        return LineSplitter(self._places.get(row.id, 0))

    def _split(
        self, splitter: LineSplitter, offset: int, data: bytes, pairs: Sequence[Pair]
    ) -> Iterator[Line]:
        query = self._query
        if query.pattern is None or query.until_millis is not None:
            return splitter.feed(data, offset, pairs)
        if query.pattern.may_match(splitter.rest + data):
            return splitter.feed(data, offset, pairs)
        return splitter.skip(data, offset, pairs)

    def _is_wanted(self, line: Line) -> bool:
        query = self._query
        if query.since_millis is not None and line.millis < query.since_millis:
            return False
        return query.pattern is None or query.pattern.matches(line.data)


def _is_told(row: LogStream, place: int) -> bool:
    """Whether cursors have this place: where nothing is left of what was before, none is needed."""
    return place > row.first_byte
