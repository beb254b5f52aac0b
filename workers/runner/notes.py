"""What the runner itself has to say: on its own standard error and in a stream of the run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from workers.runner.redaction import Redactor
from workers.runner.streams import Stream

STREAM_NAME = "system_logs/runner.txt"


class Notes:
    """Lines about this node; the stream is opened only when there is something to say.

    Args:
        open_stream: opens a stream of the run by name.
        redactor: knows what may not be said.
    """

    def __init__(self, open_stream: Callable[[str], Stream], redactor: Redactor) -> None:
        self.open_stream = open_stream
        self.redactor = redactor
        self._lock = threading.Lock()
        self._said: set[str] = set()

    def write(self, text: str) -> None:
        """Add one line."""
        line = time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()) + text + "\n"
        line = self.redactor.redact_text(line)
        sys.stderr.write(line)
        self.open_stream(STREAM_NAME).append(line.encode("utf-8", "replace"))

    def write_once(self, text: str) -> None:
        """Add a line unless the same was said before."""
        with self._lock:
            if text in self._said:
                return
            self._said.add(text)
        self.write(text)


class LazyStream:
    """A stream of the run that is opened when something comes: most helpers say nothing.

    Args:
        notes: opens it.
        name: its name.
    """

    def __init__(self, notes: Notes, name: str) -> None:
        self.name = name
        self.grown_at = 0.0
        self._notes = notes
        self._stream: Stream | None = None

    def append(self, data: bytes) -> None:
        """Add bytes."""
        if self._stream is None:
            self._stream = self._notes.open_stream(self.name)
        self._stream.append(data)

    def last_lines(self) -> list[str]:
        """Return the last lines as text."""
        return [] if self._stream is None else self._stream.last_lines()
