"""The local door: lines in a file that the runner ships, so that logging never waits."""

import json
import os
import time
import warnings


class RecordsFile(object):
    """Appends one JSON line per record.

    Args:
        path: the file, made by the runner; None when there is no runner.
    """

    def __init__(self, path):
        self._path = path
        self._is_torn = False
        self._has_warned = False

    def append(self, record):
        """Add a record; a disk that is full or a missing file is a warning, never an error."""
        if self._path is None:
            self._warn("there is no runner to take it")
            return
        try:
            data = (json.dumps(record) + "\n").encode("ascii")
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                self._write(descriptor, data)
            finally:
                os.close(descriptor)
        except (OSError, TypeError, ValueError) as error:
            self._warn(str(error))

    def flush(self, timeout_seconds):
        """Wait until everything recorded so far was delivered, at most that long.

        Returns:
            Whether it was delivered in time.
        """
        if self._path is None:
            return False
        try:
            goal = os.stat(self._path).st_size
        except OSError:
            return False
        ends_at = time.time() + timeout_seconds
        while self._acknowledged() < goal:
            if time.time() >= ends_at:
                return False
            time.sleep(0.02)
        return True

    def _write(self, descriptor, data):
        if self._is_torn:
            data = b"\n" + data
        # One write is one line even when several processes append; only a full disk tears it.
        written = 0
        while written < len(data):
            self._is_torn = True
            written += os.write(descriptor, data[written:])
        self._is_torn = False

    def _acknowledged(self):
        try:
            with open(self._path + ".acked", "rb") as file:
                return int(file.read() or b"0")
        except (OSError, ValueError):
            return 0

    def _warn(self, reason):
        if not self._has_warned:
            self._has_warned = True
            warnings.warn("A value could not be recorded: " + reason)
