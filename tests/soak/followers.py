"""Readers who follow the log of every run from its beginning, as the Python client does."""

import threading
from collections import Counter

from trainwright.connection import Connection
from trainwright.errors import TrainwrightError
from trainwright.streams import follow_log, read_log

_END_SECONDS = 120.0


class Followers:
    """One thread for each run; `errors` has what ended one early.

    Args:
        connection: to the workspace of the runs.
    """

    def __init__(self, connection: Connection) -> None:
        self.errors: list[str] = []
        self._connection = connection
        self._seen: dict[str, list[str]] = {}
        self._threads: dict[str, threading.Thread] = {}

    def follow(self, run_id: str) -> None:
        """Begin with a run."""
        self._seen[run_id] = []
        thread = threading.Thread(target=self._follow, args=(run_id,), daemon=True)
        self._threads[run_id] = thread
        thread.start()

    def compare(self) -> tuple[list[str], list[str]]:
        """What was not seen, and what was seen twice or is not there, once all runs are over."""
        lost: list[str] = []
        duplicated: list[str] = []
        for run_id, thread in self._threads.items():
            thread.join(_END_SECONDS)
            if thread.is_alive():
                lost.append(f"end of the followed log of {run_id}")
                continue
            seen, path = Counter(self._seen[run_id]), self._connection.path("runs", run_id, "logs")
            there = Counter(str(line["id"]) for line in read_log(self._connection, path))
            lost += [f"followed line of {run_id}: {line}" for line in there - seen]
            duplicated += [f"followed line of {run_id}: {line}" for line in seen - there]
        return [*self.errors, *lost], duplicated

    def _follow(self, run_id: str) -> None:
        path = self._connection.path("runs", run_id, "logs")
        try:
            for line in follow_log(self._connection, path):
                self._seen[run_id].append(str(line["id"]))
        except TrainwrightError as error:
            self.errors.append(f"followed log of {run_id}: {error!r}")
