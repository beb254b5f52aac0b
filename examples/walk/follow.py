"""Following a run: its log as it grows, and its changes of state."""

import codecs
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import httpx2

from examples.walk.talk import StepError, Talk

TERMINAL = ("Completed", "Failed", "Canceled")
_RECONNECT_SECONDS = 0.5
_POLL_SECONDS = 0.3


def log_chunks(talk: Talk, path: str, *, deadline_seconds: float) -> Iterator[bytes]:
    """The bytes of a log from its start to its end, going on where a connection breaks off.

    Args:
        talk: the server.
        path: the log's address, without a query.
        deadline_seconds: for the whole log.

    Raises:
        StepError: the log has not ended by then, or the server refuses it.
    """
    deadline = time.monotonic() + deadline_seconds
    offset = 0
    while time.monotonic() < deadline:
        query = {"follow": "true", "offset": str(offset)}
        try:
            with talk.client.stream(
                "GET", path, params=query, headers=talk.authorization()
            ) as response:
                if response.status_code != 200:
                    refusal = response.read().decode()
                    raise StepError(f"GET {path} answered {response.status_code}: {refusal}")
                for chunk in response.iter_raw():
                    offset += len(chunk)
                    yield chunk
            return
        except httpx2.TransportError:
            time.sleep(_RECONNECT_SECONDS)
    raise StepError(f"the log at {path} did not end within {deadline_seconds:.0f} s")


def log_lines(talk: Talk, path: str, *, deadline_seconds: float) -> Iterator[str]:
    """The lines of a log, without their ends, as soon as each is whole."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    begun = ""
    for chunk in log_chunks(talk, path, deadline_seconds=deadline_seconds):
        *whole, begun = (begun + decoder.decode(chunk)).split("\n")
        yield from whole
    if begun:
        yield begun


def poll(
    talk: Talk, path: str, *, until: Callable[[Any], bool], deadline_seconds: float, words: str
) -> Any:
    """GET a document again and again until it is as wanted.

    Raises:
        StepError: it is not within ``deadline_seconds``; the message says ``words``.
    """
    deadline = time.monotonic() + deadline_seconds
    while True:
        seen = talk.get(path, quiet=True)
        if until(seen):
            return seen
        if time.monotonic() > deadline:
            raise StepError(f"{words} not within {deadline_seconds:.0f} s; last seen: {seen}")
        time.sleep(_POLL_SECONDS)


@dataclass
class StateWatcher:
    """Tells each change of a run's state, and why it waits, while the block runs."""

    talk: Talk
    path: str
    tell: Callable[[str], None]
    states: list[str] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _watch(self) -> None:
        told = ""
        while not self._stopped.is_set():
            try:
                run = self.talk.get(self.path, quiet=True)
            except StepError:
                run = {}
            state = run.get("status", "")
            why = "; ".join(_blocker(blocker) for blocker in run.get("blockers") or [])
            line = f"{state}: {why}" if why else state
            if line and line != told:
                self.tell(line)
                told = line
                if state not in self.states:
                    self.states.append(state)
            if state in TERMINAL:
                return
            self._stopped.wait(_POLL_SECONDS)


def _blocker(blocker: dict[str, Any]) -> str:
    cleared = blocker.get("clears_when")
    return f"{blocker.get('code')}" + (f" (clears when {cleared})" if cleared else "")
