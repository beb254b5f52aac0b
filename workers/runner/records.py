"""Ship what scripts recorded (metrics, tags, properties): one JSON line each, in line order."""

from __future__ import annotations

import json
import os
import threading
from typing import Any, NamedTuple

from workers.runner.api import Channel, Endpoint, persist
from workers.runner.changes import Changes
from workers.runner.disk import free_bytes
from workers.runner.errors import Fenced, GaveUp, Refused, Stopped
from workers.runner.notes import Notes

GATHER_SECONDS = 0.1
READ_BYTES = 1 << 20
MOST_RECORDS = 500
MOST_BATCH_BYTES = 1 << 19
RECORDS_GAP = "records_gap"
"""What is answered when numbers before the first of a batch are missing."""
ACKED_SUFFIX = ".acked"
FREED_AT_ONCE_BYTES = 4 << 20
MOST_LEVELS = 100
"""How deep a record may be nested: the control plane takes no deeper document."""


class _Line(NamedTuple):
    record: dict[str, Any]
    end_bytes: int


class RecordShipper(threading.Thread):
    """Sends each whole line once it is there; a line without its newline waits for it.

    How many bytes the control plane has acknowledged is written to `<path>.acked`, where a
    script that flushes can see it. These bytes are given back to the disk where they stand:
    scripts go on appending to the same file, whose offsets stay, and it takes up no more room
    than what is not delivered.

    Args:
        path: the file that scripts append to; made here.
    """

    def __init__(self, endpoint: Endpoint, *, path: str, notes: Notes) -> None:
        super().__init__(name="record-shipper", daemon=True)
        self._endpoint = endpoint
        self._path = path
        self._notes = notes
        self._closing = threading.Event()
        self._changes = Changes(often_seconds=GATHER_SECONDS)
        self._offset = 0
        self._freed_bytes = 0
        self._next_seq = 0
        self.error: GaveUp | None = None
        for name in (path, path + ACKED_SUFFIX):
            with open(name, "ab"):
                pass
        self._changes.watch(path)

    def run(self) -> None:
        """Ship until closed."""
        channel = self._endpoint.channel()
        try:
            is_last = False
            while not is_last:
                is_last = self._closing.is_set()
                self._ship_new(channel, is_last=is_last)
                # What comes close together travels together.
                if not is_last and not self._closing.wait(GATHER_SECONDS):
                    self._changes.wait()
        except GaveUp as error:
            self.error = error
        except (Fenced, Stopped):
            return
        except OSError as error:
            self.error = GaveUp(f"records cannot be read: {error}")
        finally:
            channel.close()
            self._changes.close()

    def close(self) -> None:
        """Ship what is left and return; no script may be writing any more.

        Raises:
            GaveUp: the time to deliver is over, or the file cannot be read.
        """
        self._closing.set()
        self._changes.wake()
        self.join()
        if self.error is not None:
            raise self.error

    def _ship_new(self, channel: Channel, *, is_last: bool) -> None:
        while os.stat(self._path).st_size > self._offset:
            block = self._read_lines(is_last=is_last)
            if not block:
                return
            batch: list[_Line] = []
            batch_start = self._offset
            end = self._offset
            for text in block.splitlines(keepends=True):
                end += len(text)
                record = self._parse(text)
                if record is None:
                    continue
                batch.append(_Line(record, end))
                if len(batch) >= MOST_RECORDS or end - batch_start >= MOST_BATCH_BYTES:
                    self._send(channel, batch)
                    batch, batch_start = [], end
            self._send(channel, batch)
            self._acknowledge(end)
            self._free_acknowledged()

    def _read_lines(self, *, is_last: bool) -> bytes:
        """Return whole lines from the offset on; at the very end also one without newline."""
        size = READ_BYTES
        with open(self._path, "rb") as file:
            while True:
                file.seek(self._offset)
                data = file.read(size)
                cut = data.rfind(b"\n") + 1
                if cut:
                    return data[:cut]
                if len(data) < size:
                    return data if is_last else b""
                size *= 4

    def _parse(self, text: bytes) -> dict[str, Any] | None:
        if not text.strip():
            return None
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict) and not _is_too_deep(text, record):
            redacted: dict[str, Any] = self._notes.redactor.redact_document(record)
            return _clean(redacted) if b"\\u" in text else redacted
        self._notes.write(f"a line of the records file is not a record: {text[:80]!r}")
        return None

    def _send(self, channel: Channel, batch: list[_Line]) -> None:
        if not batch:
            return
        body = {"first_seq": self._next_seq, "records": [line.record for line in batch]}
        try:
            persist(lambda: channel.post_json("/records", body), self._endpoint.control)
        except Refused as refusal:
            known = refusal.problem.get("expected")
            if refusal.code == RECORDS_GAP and isinstance(known, int) and known < self._next_seq:
                # It has lost what it had acknowledged; what follows can still be kept.
                self._next_seq = known
                self._send(channel, batch)
                return
            if len(batch) > 1:
                middle = len(batch) // 2
                self._send(channel, batch[:middle])
                self._send(channel, batch[middle:])
                return
            # Its number is free: whatever comes next joins what is there.
            self._notes.write(f"a record was refused ({refusal}): {str(batch[0].record)[:200]}")
        else:
            self._next_seq += len(batch)
        self._acknowledge(batch[-1].end_bytes)

    def _acknowledge(self, offset: int) -> None:
        self._offset = max(self._offset, offset)
        try:
            with open(self._path + ACKED_SUFFIX, "r+b", buffering=0) as file:
                file.write(b"%20d" % self._offset)
        except OSError as error:
            # It tells scripts that flush; without it what they recorded is delivered as well.
            self._notes.write_once(f"{self._path}{ACKED_SUFFIX}: {error.strerror}")

    def _free_acknowledged(self) -> None:
        if self._offset - self._freed_bytes >= FREED_AT_ONCE_BYTES:
            free_bytes(self._path, start=self._freed_bytes, end=self._offset)
            self._freed_bytes = self._offset


def _is_too_deep(text: bytes, record: dict[str, Any]) -> bool:
    if text.count(b"[") + text.count(b"{") <= MOST_LEVELS:
        return False
    level: list[Any] = [record]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list))
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return any(isinstance(item, (dict, list)) for item in level)


def _clean(value: Any) -> Any:
    """Replace characters that no database takes as text: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value
