"""Log files of the children, with a limit on their size."""

import asyncio
from collections import deque
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 10 * 1024 * 1024
KEPT_FILES = 3
TAIL_LINES = 15
_CHUNK_BYTES = 64 * 1024


class ChildLog:
    """What a child writes, appended to `path`; full files become `path.1`, `path.2`, …"""

    def __init__(
        self, path: Path, *, max_bytes: int = MAX_BYTES, kept_files: int = KEPT_FILES
    ) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._kept_files = kept_files
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def tail(self) -> str:
        """Return the last lines written since the start of this supervisor."""
        return b"\n".join(self._tail).decode(errors="replace")

    def write(self, data: bytes) -> None:
        """Append, and begin a new file when this one is full."""
        self._tail.extend(line for line in data.splitlines() if line.strip())
        self._file.write(data)
        if self._file.tell() >= self._max_bytes:
            self._rotate()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    async def pump(self, stream: asyncio.StreamReader) -> None:
        """Write what comes from `stream` until its end."""
        while data := await stream.read(_CHUNK_BYTES):
            # A disk that is full loses lines: a child whose output nobody takes would stand still.
            with suppress(OSError):
                self.write(data)

    def _rotate(self) -> None:
        for number in range(self._kept_files, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path.with_name(f"{self.path.name}.{number - 1}")
            source = self.path if number == 1 else newer
            if source.exists():
                source.replace(older)
        fresh = self.path.open("ab", buffering=0)
        self._file.close()
        self._file = fresh
