"""Hints: "look at this row now". They may be lost, doubled or late without harm.

A hint is collected on the session, leaves after the commit, and goes two ways: over the
broker to a worker, and as a signal to the streams that wait for a change.
"""

from typing import Literal, NamedTuple, Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

_log = structlog.get_logger(__name__)


class Hint(NamedTuple):
    """Something to look at: for a ``reconcile`` hint a row, for a ``signal`` a channel.

    With ``traceparent`` its way is part of the trace that is named there; empty: of none.
    """

    kind: Literal["reconcile", "signal"]
    topic: str
    id: str
    traceparent: str = ""


class HintSender(Protocol):
    """Sends hints without ever blocking or raising."""

    def send(self, hints: list[Hint]) -> None:
        """Send these soon, best effort."""


def say_after_commit(session: AsyncSession, event: str, **values: str | int) -> None:
    """Write a line to the log once this session has committed, and none if it never does."""
    said: list[tuple[str, dict[str, str | int]]] = session.info.setdefault("said", [])
    said.append((event, values))


def say_now(session: AsyncSession) -> None:
    """Write the lines of this session, which has committed."""
    for event, values in session.info.pop("said", []):
        _log.info(event, **values)


def add_hint(session: AsyncSession, hint: Hint) -> None:
    """Send ``hint`` after this session's commit."""
    hints: list[Hint] = session.info.setdefault("hints", [])
    if hint not in hints:
        hints.append(hint)


def collected_hints(session: AsyncSession) -> list[Hint]:
    """Take the hints of this session."""
    hints: list[Hint] = session.info.pop("hints", [])
    return hints


def discard_hints(session: AsyncSession) -> None:
    """Forget the hints, and the lines, of a session that is rolled back."""
    session.info.pop("hints", None)
    session.info.pop("said", None)
