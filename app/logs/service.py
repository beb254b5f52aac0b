"""Appending to logs, reading them, sealing them."""

import re
from collections.abc import AsyncIterator, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.clock import utc_now
from app.kernel.db import Database
from app.kernel.hints import Hint
from app.kernel.signals import Signals
from app.kernel.wake import signal
from app.logs import appending, repository
from app.logs.appending import Place
from app.logs.repository import MERGED
from app.logs.times import Pair, placed
from app.storage.objects import ObjectStore
from app.tables.log import LogStream

LOG_TOPIC = "log"
_POLL_SECONDS = 1.0
_FOLLOWED = re.compile(r"(nodes/\d+/)?logs/")


def is_merged(name: str) -> bool:
    """Whether a stream's bytes also stand in the merged log: files under ``logs/`` do not."""
    return _FOLLOWED.match(name) is None


async def append(
    session: AsyncSession,
    owner: str,
    name: str,
    data: bytes,
    *,
    attempt: int = 1,
    offset: int | None = None,
    node_index: int | None = None,
    times: Sequence[Pair] = (),
    most_bytes: int | None = None,
) -> int:
    """Append bytes to a stream; repeating a call with the same offset changes nothing.

    Args:
        session: the transaction; the bytes are safe once it has committed.
        owner: id of the run, image or deployment.
        name: the stream, e.g. ``user_logs/std_log.txt``.
        data: the bytes.
        attempt: the attempt they belong to.
        offset: where in the stream they start; None: at its end.
        node_index: which of the run's nodes wrote them; None: the control plane.
        times: when they were written, with offsets within ``data``; absent: now.
        most_bytes: how long all streams of the owner may be together; None: as long as they like.

    Returns:
        The stream's length in bytes.

    Raises:
        OffsetGap: ``offset`` is beyond the end.
        StreamSealed: the stream was sealed, or all of the log was before this stream came.
        LogFull: all streams together would be longer than that.
    """
    place = Place(owner, attempt, name, is_merged(name), node_index, most_bytes)
    now = int(utc_now().timestamp() * 1000)
    if offset is not None and data:
        pairs = placed(times, start=offset, offset=offset, now_millis=now)
        if await appending.append_expected(session, place, data, pairs, start=offset):
            signal(session, LOG_TOPIC, owner)
            return offset + len(data)
    stream = await appending.lock(session, place)
    length = stream.length_bytes
    fresh = appending.fresh(stream, data, offset)
    if not fresh:
        return length
    start = length if offset is None else offset
    pairs = placed(times, start=start, offset=length, now_millis=now)
    await appending.append_locked(session, stream, place, fresh, pairs)
    signal(session, LOG_TOPIC, owner)
    return length + len(fresh)


async def append_next(
    database: Database,
    owner: str,
    name: str,
    data: bytes,
    *,
    attempt: int,
    offset: int,
    times: Sequence[Pair],
    most_bytes: int | None = None,
) -> bool:
    """Append what an open stream expects next, in one round trip; else `append` has to.

    Args:
        database: where the log is, and what tells who follows.
        owner, name, data, attempt, offset, times, most_bytes: as of `append`.

    Returns:
        Whether the bytes are safe; False: nothing was changed.
    """
    now = int(utc_now().timestamp() * 1000)
    place = Place(owner, attempt, name, is_merged(name), most_bytes=most_bytes)
    pairs = placed(times, start=offset, offset=offset, now_millis=now)
    if not data or not await appending.append_directly(
        database.direct, place, data, pairs, start=offset
    ):
        return False
    database.send(Hint("signal", LOG_TOPIC, owner))
    return True


class LogReader:
    """Reads one stream of an owner, sealed or growing."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        *,
        owner: str,
        attempt: int = 0,
        name: str = MERGED,
    ) -> None:
        self._database = database
        self._objects = objects
        self._owner = owner
        self._attempt = 0 if name == MERGED else attempt
        self._name = name
        self._was_there = False

    async def stream(self) -> LogStream | None:
        """The stream's row as it is now."""
        async with self._database.session() as session:
            row = await repository.find_stream(session, self._owner, self._attempt, self._name)
        self._was_there = self._was_there or row is not None
        return row

    async def read(self, start: int, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield what is there now from byte ``start`` to before ``end``; no session is held."""
        position = start
        while end is None or position < end:
            stream = await self.stream()
            if stream is None:
                return
            gone = stream.first_byte
            position = max(position, gone)
            last = stream.length_bytes if end is None else min(end, stream.length_bytes)
            if position >= last:
                return
            if stream.sha256 is not None:
                pieces = await self._objects.open(
                    stream.sha256, start=position - gone, end=last - gone
                )
                async for piece in pieces:
                    yield piece
                return
            for offset, data in await self._newest(position):
                piece = data if end is None else data[: max(0, end - offset)]
                if piece:
                    yield piece
                position = offset + len(data)

    async def _chunks(self, start: int) -> Sequence[tuple[int, bytes]]:
        direct = self._database.direct
        return await repository.read_chunks(
            direct, self._owner, self._attempt, self._name, start=start
        )

    async def _newest(self, position: int) -> list[tuple[int, bytes]]:
        """Bytes from ``position`` on that lie in chunks, with their offsets."""
        found = []
        for offset, data in await self._chunks(position):
            skipped = max(0, position - offset)
            if skipped < len(data):
                found.append((offset + skipped, bytes(data[skipped:])))
        return found

    async def follow(self, start: int, *, signals: Signals) -> AsyncIterator[bytes]:
        """Yield bytes from ``start`` as they come, until the stream is sealed and read, or gone.

        Args:
            start: first byte.
            signals: tells of new bytes; without one the stream is looked at once a second.
        """
        position = start
        with signals.subscribe(LOG_TOPIC, self._owner) as subscription:
            while True:
                # First what has just come: most looks find it, and find it in one round trip.
                pieces = await self._newest(position)
                self._was_there = self._was_there or bool(pieces)
                for offset, piece in pieces:
                    position = offset + len(piece)
                    yield piece
                if pieces:
                    continue
                stream = await self.stream()
                if stream is None and self._was_there:
                    return  # deleted with its owner
                if stream is not None and stream.sha256 is not None:
                    async for piece in self.read(position):
                        yield piece
                    return
                await subscription.wait(timeout_seconds=_POLL_SECONDS)
