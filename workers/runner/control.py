"""The few facts that all threads of the runner share: fenced, stop asked for, work over."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Union

from workers.runner.errors import Fenced, GaveUp, Stopped

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
STOPPED = "stopped"
PEERS_DONE = "peers_done"
Message = Union[str, "Callable[[], None]"]


class Control:
    """Tells every thread whether to go on, and wakes the main one through `inbox`.

    `inbox` carries "stop", "fenced" and "exited", which are hints to look, never the only truth,
    and functions, which the main thread calls while it watches the processes.
    """

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.traceparent = ""
        """Of the attempt; sent along, so that the control plane's log has the trace."""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_preparing = True
        self._is_stop_requested = False
        self._stop_reason: str | None = None
        self.stopped_because: str | None = None
        """Why the orderly end was asked for, for a person, when there is more to say."""
        self._fence_reason: str | None = None
        self._deliver_until: float | None = None

    @property
    def is_fenced(self) -> bool:
        """Whether the control plane has disowned this node."""
        return self._fence_reason is not None

    def fence(self, reason: str) -> None:
        """Record that the control plane has disowned this node."""
        with self._lock:
            self._fence_reason = self._fence_reason or reason
            self._wake.set()
        self.inbox.put("fenced")

    @property
    def is_stop_requested(self) -> bool:
        """Whether the orderly end was asked for."""
        return self._is_stop_requested

    @property
    def stop_reason(self) -> str:
        """Why the orderly end was asked for."""
        return self._stop_reason or STOPPED

    def request_stop(self, reason: str = STOPPED, because: str | None = None) -> None:
        """Ask for the orderly end: the processes are told to stop, then outputs are collected.

        Args:
            reason: why; the first one stays.
            because: the same for a person.
        """
        with self._lock:
            self._stop_reason = self._stop_reason or reason
            self.stopped_because = self.stopped_because or because
            self._is_stop_requested = True
            if self._is_preparing:
                self._wake.set()
        self.inbox.put("stop")

    def end_preparing(self) -> None:
        """From now on a stop is the business of whoever watches the processes."""
        with self._lock:
            self._is_preparing = False
            if self._fence_reason is None:
                self._wake.clear()

    def end_work(self, *, deliver_seconds: float) -> None:
        """Bound what is still to be delivered, now that the processes have ended."""
        with self._lock:
            self._deliver_until = time.monotonic() + deliver_seconds

    def hurry(self, *, deliver_seconds: float) -> None:
        """Shorten the time to deliver, when the work has ended."""
        with self._lock:
            if self._deliver_until is not None:
                until = time.monotonic() + deliver_seconds
                self._deliver_until = min(self._deliver_until, until)

    def check(self) -> None:
        """Return when the calling thread may go on.

        Raises:
            Fenced: the control plane has disowned this node.
            Stopped: a stop was asked for during preparation.
            GaveUp: the time to deliver is over.
        """
        if self._fence_reason is not None:
            raise Fenced(self._fence_reason)
        if self._is_preparing and self._is_stop_requested:
            raise Stopped("stopped while preparing")
        if self._deliver_until is not None and time.monotonic() >= self._deliver_until:
            raise GaveUp("the time to deliver is over")

    def pause(self, attempt: int) -> None:
        """Wait before the next try, longer with each attempt, and check before and after.

        Args:
            attempt: tries made so far, from 0.
        """
        self.check()
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(attempt, 8))
        jitter = 0.5 + os.urandom(1)[0] / 510
        self.rest(longest * jitter)

    def rest(self, seconds: float) -> None:
        """Wait that long, or less when there is something to check or a nudge, then check."""
        self._wake.wait(seconds)
        self.check()
        with self._lock:
            is_stopping = self._is_preparing and self._is_stop_requested
            if self._fence_reason is None and not is_stopping:
                self._wake.clear()

    def nudge(self) -> None:
        """Have whoever rests look at once: something was heard that makes it worth while."""
        self._wake.set()
