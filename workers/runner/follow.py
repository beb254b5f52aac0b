"""Follow the files under `./logs`: their bytes become streams named by their paths."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

from workers.runner.changes import Changes
from workers.runner.names import readable_name
from workers.runner.notes import Notes
from workers.runner.shipping import LogShipper
from workers.runner.streams import Stream

SCAN_SECONDS = 0.5
ROOM_POLL_SECONDS = 0.05
READ_BYTES = 1 << 20
PROOF_BYTES = 4096
MOST_FILES = 2000


class _Tail:
    """One followed file: how far it was read, and proof that it is still the same file."""

    def __init__(self, stream: Stream, path: str) -> None:
        self.stream = stream
        self._path = path
        self._offset = 0
        self._proof = b""
        self._seen: tuple[int, int, int] | None = None

    def catch_up(self) -> bool:
        """Append what is new; return whether some of it waits for room in the spool."""
        with open(self._path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            if seen == self._seen:
                return False
            if not self._is_continued(file.fileno(), status):
                # Truncated, replaced or rewritten: the new content follows the old, as in tail -F.
                self._offset = 0
                self._proof = b""
            while chunk := os.pread(file.fileno(), READ_BYTES, self._offset):
                if not self.stream.has_room(len(chunk)):
                    # The bytes are on this disk already: nothing is lost by waiting.
                    self._seen = (status.st_ino, -1, 0)
                    return True
                self.stream.append(chunk)
                self._offset += len(chunk)
                self._proof = (self._proof + chunk)[-PROOF_BYTES:]
            self._seen = seen
            return False

    def _is_continued(self, descriptor: int, status: os.stat_result) -> bool:
        if self._seen is None:
            return True
        if status.st_ino != self._seen[0] or status.st_size < self._offset:
            return False
        start = self._offset - len(self._proof)
        return os.pread(descriptor, len(self._proof), start) == self._proof


class Follower(threading.Thread):
    """Looks at the followed folders when they change and appends what is new.

    Args:
        work_dir: the scripts' working folder.
        folders: names of folders in it.
        shipper: where the streams are opened.
    """

    def __init__(
        self, *, work_dir: str, folders: list[str], shipper: LogShipper, notes: Notes
    ) -> None:
        super().__init__(name="follower", daemon=True)
        self._work_dir = work_dir
        self._folders = folders
        self._shipper = shipper
        self._notes = notes
        self._closing = threading.Event()
        self._changes = Changes(often_seconds=SCAN_SECONDS)
        self._tails: dict[str, _Tail] = {}

    def run(self) -> None:
        """Follow until closed."""
        while not self._closing.wait(SCAN_SECONDS):
            is_waiting = self._scan()
            if not is_waiting:
                self._changes.wait()

    def close(self) -> None:
        """Stop, after reading to the end of every file; nobody may be writing any more."""
        self._closing.set()
        self._changes.wake()
        if self.is_alive():
            self.join()
        while self._scan() and not self._shipper.is_over:
            time.sleep(ROOM_POLL_SECONDS)
        self._changes.close()

    def _scan(self) -> bool:
        """Look at every file once; return whether one waits for room."""
        is_waiting = False
        for folder in self._folders:
            for path in _regular_files(
                os.path.join(self._work_dir, folder), on_folder=self._changes.watch
            ):
                is_waiting |= self._follow(path)
        return is_waiting

    def _follow(self, path: str) -> bool:
        tail = self._tails.get(path)
        if tail is None:
            if len(self._tails) >= MOST_FILES:
                self._notes.write_once(f"more than {MOST_FILES} log files: not all are followed")
                return False
            name = readable_name(os.path.relpath(path, self._work_dir))
            tail = self._tails[path] = _Tail(self._shipper.open_own_stream(name), path)
        try:
            return tail.catch_up()
        except FileNotFoundError:
            return False
        except OSError as error:
            self._notes.write_once(f"{tail.stream.name}: cannot be read: {error.strerror}")
            return False


def _regular_files(folder: str, *, on_folder: Callable[[str], object]) -> Iterator[str]:
    # First: what is made in it from now on is told of.
    on_folder(folder)
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _regular_files(entry.path, on_folder=on_folder)
            elif entry.is_file(follow_symlinks=False):
                yield entry.path
        except OSError:
            continue
