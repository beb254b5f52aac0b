"""Notice when a serving process is ready to answer, say where, and notice when it hangs."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from typing import Any

from workers.runner.control import Control
from workers.runner.events import EventSender
from workers.runner.order import Readiness

POLL_SECONDS = 0.1
ANSWER_SECONDS = 30.0
PROBES = 4
"""So many questions in a row, or more, have no answer when a process is taken to hang."""


class ReadinessPoller(threading.Thread):
    """Waits for the port file, then for a 200 with a JSON object, and posts it as `serving`.

    When that takes longer than the order allows, `failed` (`readiness_timeout`) is posted and
    the process is stopped. From then on it is asked whether it lives; one that has given no good
    answer for as long as the order says hangs: `failed` (`replica_hung`) is posted and it is
    stopped, by force if it must be.

    Args:
        work_dir: where the process writes its port file.
    """

    def __init__(
        self, readiness: Readiness, *, work_dir: str, events: EventSender, control: Control
    ) -> None:
        super().__init__(name="readiness", daemon=True)
        self._readiness = readiness
        self._port_path = os.path.join(work_dir, readiness.port_file)
        self._events = events
        self._control = control
        self._closing = threading.Event()
        self._last_problem = "it wrote no port file"

    def run(self) -> None:
        """Poll until ready, out of time, or closed."""
        ends_at = time.monotonic() + self._readiness.timeout_seconds
        while time.monotonic() < ends_at:
            port = self._port()
            body = None if port is None else self._ask(port, self._readiness.path)
            if port is not None and body is not None:
                self._events.post("serving", port=port, body=body)
                self._watch(port)
                return
            if self._closing.wait(POLL_SECONDS):
                return
        message = (
            f"the serving process was not ready within {self._readiness.timeout_seconds:g} s: "
            + self._last_problem
        )
        self._give_up("readiness_timeout", message)

    def close(self) -> None:
        """Poll no more."""
        self._closing.set()

    def _watch(self, port: int) -> None:
        limit = self._readiness.silence_seconds
        step = limit / (2 * PROBES)  # one to wait and one to ask
        answered_at, missed = time.monotonic(), 0
        while not self._closing.wait(step):
            if self._ask(port, self._readiness.live_path, step) is not None:
                answered_at, missed = time.monotonic(), 0
                continue
            missed += 1
            # After the whole machine has stood still, the time alone says nothing.
            if missed >= PROBES and time.monotonic() - answered_at >= limit:
                message = f"the serving process hangs, for {limit:g} s now: {self._last_problem}"
                self._give_up("replica_hung", message)
                return

    def _give_up(self, code: str, message: str) -> None:
        self._events.post("failed", code=code, message=message)
        self._control.request_stop()

    def _port(self) -> int | None:
        try:
            with open(self._port_path, encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return None

    def _ask(
        self, port: int, path: str, timeout_seconds: float = ANSWER_SECONDS
    ) -> dict[str, Any] | None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            data = response.read()
            if response.status != 200:
                self._last_problem = f"it answered {response.status}: {data[:500]!r}"
                return None
            body = json.loads(data)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._last_problem = f"asking it failed with {error!r}"
            return None
        finally:
            connection.close()
        return body if isinstance(body, dict) else None
