"""Tell the control plane what happened, in order, without holding up whoever watches."""

from __future__ import annotations

import functools
import queue
import threading
import time
from typing import Any

from workers.runner.api import Endpoint, persist
from workers.runner.control import STOPPED, Control
from workers.runner.errors import Away, Fenced, GaveUp, Refused, Stopped
from workers.runner.quiet import Quiet

ANSWER_SECONDS = 10.0


class Ticket:
    """An event on its way."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._answer: dict[str, Any] = {}
        self._error: Exception | None = None

    def wait(self) -> dict[str, Any]:
        """Wait for the answer and return it.

        Raises:
            Fenced, GaveUp, Stopped, Refused, OSError: why the event could not be delivered.
        """
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._answer

    def settle(self, answer: dict[str, Any], error: Exception | None) -> None:
        """Give the answer, or the reason why there is none."""
        self._answer = answer
        self._error = error
        self._done.set()


class EventSender(threading.Thread):
    """Posts events one after the other, each until it is delivered."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(name="events", daemon=True)
        self._endpoint = endpoint
        self._pending: queue.SimpleQueue[tuple[dict[str, Any], Ticket]] = queue.SimpleQueue()

    def post(self, event: str, **details: Any) -> Ticket:
        """Queue an event with its members; the ticket tells when it was delivered."""
        ticket = Ticket()
        self._pending.put(({"event": event, **details}, ticket))
        return ticket

    def run(self) -> None:
        """Deliver for ever."""
        channel = self._endpoint.channel()
        control = self._endpoint.control
        while True:
            body, ticket = self._pending.get()
            try:
                answer = persist(functools.partial(channel.post_json, "/events", body), control)
            except (Fenced, GaveUp, Stopped, Refused, OSError) as error:
                ticket.settle({}, error)
                continue
            obey_stop(answer, control)
            ticket.settle(answer, None)


class Heartbeat(threading.Thread):
    """Tells the control plane every few seconds that the node lives, and in which phase."""

    def __init__(self, endpoint: Endpoint, *, interval_seconds: float) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.phase = "preparing"
        self.quiet: Quiet | None = None
        """While the scripts run: for how long nothing has been heard of them."""
        self._endpoint = endpoint
        self._interval_seconds = interval_seconds
        self._closing = threading.Event()

    def run(self) -> None:
        """Beat until closed or fenced; a beat that is not answered is made up by the next.

        An answer may wait until there is something to do: so a stop is known at once.
        """
        channel = self._endpoint.channel()
        control: Control = self._endpoint.control
        timeout_seconds = ANSWER_SECONDS + self._interval_seconds
        pause_seconds = self._interval_seconds
        while not self._closing.wait(pause_seconds):
            began = time.monotonic()
            try:
                answer = channel.post_json(
                    "/heartbeat", self._beat(), timeout_seconds=timeout_seconds
                )
            except (Away, Refused):
                answer = {}
            except Fenced:
                return
            obey_stop(answer, control)
            pause_seconds = max(0.0, self._interval_seconds - (time.monotonic() - began))

    def close(self) -> None:
        """Beat no more."""
        self._closing.set()

    def _beat(self) -> dict[str, Any]:
        quiet = self.quiet
        if quiet is None:
            return {"phase": self.phase, "quiet": None}
        return {
            "phase": self.phase,
            "quiet": quiet.as_json(),
            "wait_seconds": self._interval_seconds,
        }


def obey_stop(answer: dict[str, Any], control: Control) -> None:
    """Ask for the orderly end when the control plane's answer says so."""
    if answer.get("command") == "stop":
        control.request_stop(str(answer.get("reason") or STOPPED), answer.get("because"))
