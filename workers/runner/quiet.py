"""For how long nothing has been heard of a node's scripts."""

from __future__ import annotations

import os
import time
from typing import Any

from workers.runner.processes import NodeProcess
from workers.runner.shipping import LogShipper


class Quiet:
    """Looks at what the scripts print, log and record; made when they start.

    Args:
        processes: all of the node, in order.
        shipper: has the streams of their output and of the log files.
        records_path: the file that metrics are appended to.
    """

    def __init__(
        self, processes: list[NodeProcess], *, shipper: LogShipper, records_path: str
    ) -> None:
        self._processes = processes
        self._shipper = shipper
        self._records_path = records_path
        self._began = time.monotonic()

    def as_json(self) -> dict[str, Any]:
        """Seconds of silence: of each process (None: it has ended), and of the whole node.

        Log files and metrics count for the node alone: they name no process.
        """
        heard_at = max(self._began, self._shipper.grown_at())
        return {
            "processes": [process.quiet_seconds for process in self._processes],
            "node": min(time.monotonic() - heard_at, self._since_last_record()),
        }

    def _since_last_record(self) -> float:
        try:
            return max(0.0, time.time() - os.stat(self._records_path).st_mtime)
        except OSError:
            return time.monotonic() - self._began
