"""Ship streams to the control plane by offset, whole and in order, while they grow."""

from __future__ import annotations

import os
import threading
import time
from urllib.parse import quote

from workers.runner.api import Channel, Endpoint, persist
from workers.runner.errors import Fenced, GaveUp, Refused, Stopped
from workers.runner.order import LOG_SPOOL_BYTES
from workers.runner.redaction import Redactor
from workers.runner.spool import SpoolBudget
from workers.runner.streams import Stream

CHUNK_BYTES = 1 << 20
MOST_MOMENTS = 200
LOG_FULL = "log_full"
"""What is answered when no more of the run's log is kept."""
SMALLEST_CHUNK_BYTES = 64 << 10
# An idle stream's next bytes go at once. Those of a busy one gather while others are on their way,
# and then for a part of the time that these took, within these bounds.
GATHER_SHARE = 0.25
LEAST_GATHER_SECONDS = 0.005
MOST_GATHER_SECONDS = 0.1


class _Shipment:
    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.shipped_bytes = 0
        self.chunk_bytes = CHUNK_BYTES
        self.next_at = 0.0
        self.line_seen_at: float | None = None
        self.is_refused = False

    @property
    def has_more(self) -> bool:
        return not self.is_refused and self.shipped_bytes < self.stream.length_bytes

    def may_wait(self, data: bytes) -> bool:
        """Whether what is to be sent is the beginning of a line whose end may come in a moment."""
        if b"\n" in data or len(data) >= SMALLEST_CHUNK_BYTES:
            return False
        now = time.monotonic()
        self.line_seen_at = self.line_seen_at or now
        return now - self.line_seen_at < MOST_GATHER_SECONDS


class LogShipper(threading.Thread):
    """The one thread that sends the bytes of all streams of this node.

    Args:
        endpoint: the control plane.
        spool_dir: where new streams keep their bytes.
        redactor: knows what may be in no stream.
    """

    def __init__(self, endpoint: Endpoint, *, spool_dir: str, redactor: Redactor) -> None:
        super().__init__(name="log-shipper", daemon=True)
        self._endpoint = endpoint
        self._control = endpoint.control
        self._spool_dir = spool_dir
        self._redactor = redactor
        self._grown = threading.Condition()
        self._shipments: dict[str, _Shipment] = {}
        self._is_over = False
        self._trouble = ""
        self.budget = SpoolBudget(LOG_SPOOL_BYTES)
        self.prefix = ""
        """Before the names of streams that every node of the run has."""

    def open_stream(self, name: str) -> Stream:
        """Return the stream of that name, made empty when it is new."""
        with self._grown:
            shipment = self._shipments.get(name)
            if shipment is None:
                path = os.path.join(self._spool_dir, f"stream-{len(self._shipments):05d}")
                stream = Stream(
                    name=name,
                    path=path,
                    budget=self.budget,
                    on_growth=self._wake,
                    redactor=self._redactor,
                )
                shipment = self._shipments[name] = _Shipment(stream)
            return shipment.stream

    def open_own_stream(self, name: str) -> Stream:
        """Return the stream of that name of this node, as other nodes have one as well."""
        return self.open_stream(self.prefix + name)

    def grown_at(self) -> float:
        """When bytes came last into any stream, on the monotonic clock; 0 without streams."""
        with self._grown:
            return max((item.stream.grown_at for item in self._shipments.values()), default=0.0)

    def seal_and_drain(self) -> dict[str, dict[str, int | str]]:
        """Seal all streams, wait until they are delivered, return length and digest of each.

        Raises:
            GaveUp, Fenced: as the control says.
        """
        with self._grown:
            sealed = {name: item.stream.seal() for name, item in self._shipments.items()}
            while any(item.has_more for item in self._shipments.values()):
                self._control.check()
                if self._is_over:
                    raise GaveUp(f"log shipping has ended{self._trouble}")
                self._grown.wait(0.2)
        return sealed

    def run(self) -> None:
        """Ship until the control says that it is over."""
        channel = self._endpoint.channel()
        try:
            while True:
                self._ship(channel, self._next_due())
        except (Fenced, GaveUp, Stopped):
            return
        except OSError as error:
            self._trouble = f": {error}"
        finally:
            channel.close()
            with self._grown:
                self._is_over = True
                self._grown.notify_all()

    @property
    def is_over(self) -> bool:
        """Whether nothing will be sent any more."""
        return self._is_over

    def _wake(self) -> None:
        with self._grown:
            self._grown.notify_all()

    def _next_due(self) -> _Shipment:
        """Wait for the stream that has bytes and waited longest."""
        with self._grown:
            while True:
                self._control.check()
                waiting = [item for item in self._shipments.values() if item.has_more]
                if not waiting:
                    self._grown.wait(1.0)
                    continue
                first = min(waiting, key=lambda item: item.next_at)
                early_seconds = first.next_at - time.monotonic()
                pending_bytes = first.stream.length_bytes - first.shipped_bytes
                if early_seconds <= 0 or pending_bytes >= SMALLEST_CHUNK_BYTES:
                    return first
                self._grown.wait(early_seconds)

    def _ship(self, channel: Channel, shipment: _Shipment) -> None:
        offset = shipment.shipped_bytes
        began = time.monotonic()
        data = _whole_lines(shipment.stream.read(offset=offset, limit_bytes=shipment.chunk_bytes))
        if shipment.may_wait(data):
            shipment.next_at = began + LEAST_GATHER_SECONDS
            return
        shipment.line_seen_at = None
        moments = shipment.stream.moments(offset, offset + len(data))
        if len(moments) > MOST_MOMENTS:
            data = _whole_lines(data[: moments[MOST_MOMENTS][0]])
        path = f"/logs?stream={quote(shipment.stream.name, safe='')}&offset={offset}"
        known = [pair for pair in moments[:MOST_MOMENTS] if pair[0] < len(data)]
        times = " ".join(f"{start}@{millis}" for start, millis in known)
        headers = {"Log-Times": times}
        try:
            answer = persist(lambda: channel.post_bytes(path, data, headers), self._control)
            reached = int(answer.get("length_bytes", offset + len(data)))
        except Refused as refusal:
            reached = self._after_refusal(shipment, refusal)
        with self._grown:
            shipment.shipped_bytes = min(reached, shipment.stream.length_bytes)
            shipment.stream.delivered(shipment.shipped_bytes)
            now = time.monotonic()
            share_seconds = GATHER_SHARE * (now - began)
            pause_seconds = max(LEAST_GATHER_SECONDS, min(MOST_GATHER_SECONDS, share_seconds))
            shipment.next_at = now + pause_seconds
            self._grown.notify_all()

    def _after_refusal(self, shipment: _Shipment, refusal: Refused) -> int:
        known = refusal.problem.get("length_bytes")
        is_gap = refusal.code == "offset_gap"
        if is_gap and isinstance(known, int) and known >= shipment.stream.first_byte:
            return known
        is_too_large = refusal.status == 413 and refusal.code != LOG_FULL
        if is_too_large and shipment.chunk_bytes > SMALLEST_CHUNK_BYTES:
            shipment.chunk_bytes //= 2
            return shipment.shipped_bytes
        # Nothing that can be sent will be taken; the others go on, and have the room of this one.
        shipment.stream.end()
        shipment.is_refused = True
        return shipment.shipped_bytes


def _whole_lines(data: bytes) -> bytes:
    """Without the line that has no end yet, unless there is nothing else.

    Pieces of several processes follow each other in the merged log, where they should not tear
    lines.
    """
    return data[: data.rfind(b"\n") + 1] or data
