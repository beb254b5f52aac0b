"""Watch a node's processes until all have ended, or are made to."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

from workers.runner.control import PEERS_DONE, Control, Message
from workers.runner.errors import Fenced
from workers.runner.leftovers import end_leftovers, kill_leftovers
from workers.runner.order import Order
from workers.runner.processes import NodeProcess

LEFTOVER_GRACE_SECONDS = 2.0
KILL_AGAIN_SECONDS = 1.0
WIND_DOWN_SECONDS = 3.0


def supervise(
    processes: list[NodeProcess],
    order: Order,
    control: Control,
    *,
    helpers: list[NodeProcess],
    on_end: Callable[[int, NodeProcess], object],
) -> str | None:
    """Return why the processes were stopped, None when they were not.

    Args:
        processes: all of the node.
        order: the limits.
        control: asks for the end, and says why.
        helpers: what else runs for them; may grow until the end.
        on_end: told of each process that ends while others go on, with its place.

    When one process fails, the others of this node are stopped as well. What they started and
    left behind is ended too.

    Raises:
        Fenced: everything was killed because this attempt is disowned.
    """
    watch = _Watch(processes, helpers, order, control)
    running = set(range(len(processes)))
    while running or any(helper.is_running for helper in helpers):
        watch.step()
        ended = {place for place in running if not processes[place].is_running}
        running -= ended
        goes_on = running or any(helper.is_running for helper in helpers)
        for place in sorted(ended) if goes_on else ():
            on_end(place, processes[place])
    everything = [*processes, *helpers]
    end_leftovers(
        order.name,
        sessions=_sessions(everything),
        grace_seconds=min(LEFTOVER_GRACE_SECONDS, order.grace_seconds),
    )
    for process in everything:
        process.finish_reading()
    return watch.reason


class _Watch:
    """What is to happen when: the end of the allowed time, the end of the grace."""

    def __init__(
        self,
        processes: list[NodeProcess],
        helpers: list[NodeProcess],
        order: Order,
        control: Control,
    ) -> None:
        self.reason: str | None = None
        self._processes = processes
        self._helpers = helpers
        self._order = order
        self._control = control
        self._kill_at: float | None = None
        self._wind_down_until: float | None = None
        limit = order.max_duration_seconds
        self._ends_at = None if limit is None else time.monotonic() + limit

    def step(self) -> None:
        """Wait for the next thing to happen and do what it asks for."""
        message = _next_message(self._control, self._next_at())
        if self._control.is_fenced:
            _kill(self._everything(), self._order)
            raise Fenced("disowned while running")
        now = time.monotonic()
        if self._kill_at is not None:
            self._go_on_ending(now)
            return
        if not isinstance(message, str):
            message()
        elif message == "stop":
            self.reason = self._control.stop_reason
        elif self._ends_at is not None and now >= self._ends_at:
            self.reason = "max_duration"
        if self.reason is not None or any(one.has_failed for one in self._everything()):
            self._begin_ending(now)

    def _begin_ending(self, now: float) -> None:
        self._kill_at = now + self._order.grace_seconds
        if self.reason == PEERS_DONE:
            self._wind_down_until = min(self._kill_at, now + WIND_DOWN_SECONDS)
        for process in self._everything():
            if self._wind_down_until is None or not process.winds_down:
                process.terminate()

    def _go_on_ending(self, now: float) -> None:
        if self._wind_down_until is not None and now >= self._wind_down_until:
            self._wind_down_until = None
            for process in self._everything():
                process.terminate()
        if self._kill_at is not None and now >= self._kill_at:
            _kill(self._everything(), self._order)
            self._kill_at = now + KILL_AGAIN_SECONDS

    def _next_at(self) -> float | None:
        if self._kill_at is None:
            return self._ends_at
        return self._kill_at if self._wind_down_until is None else self._wind_down_until

    def _everything(self) -> list[NodeProcess]:
        return [*self._processes, *self._helpers]


def _next_message(control: Control, wake_at: float | None) -> Message:
    timeout_seconds = None if wake_at is None else max(0.0, wake_at - time.monotonic())
    try:
        return control.inbox.get(timeout=timeout_seconds)
    except queue.Empty:
        return "timer"


def _kill(processes: list[NodeProcess], order: Order) -> None:
    for process in processes:
        process.kill()
    kill_leftovers(order.name, sessions=_sessions(processes))


def _sessions(processes: list[NodeProcess]) -> set[int]:
    return {process.session for process in processes if process.session is not None}
