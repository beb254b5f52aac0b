"""Signs of life of a worker: written in its loop, read by whoever asks for its health."""

import asyncio
import time
from typing import NoReturn

from workers import measures

_TICK_SECONDS = 1.0
_PATIENCE_SECONDS = 30.0


class Pulse:
    """Whether the loop of this process goes round, and whether it finds out what is due.

    The first says that the process is alive and takes no database; the second that it can work.

    Args:
        patience_seconds: for how long either may fail to happen.
    """

    def __init__(self, *, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._ticked_at = time.monotonic()
        self._looked_at: float | None = None
        self._trouble = "it has not looked for due rows yet"

    async def beat(self) -> NoReturn:
        """Note, again and again, that the loop goes round."""
        while True:
            self._ticked_at = time.monotonic()
            await asyncio.sleep(_TICK_SECONDS)

    def note_look(self) -> None:
        """The poller has asked for due rows, and was answered."""
        self._looked_at = time.monotonic()
        self._trouble = "the last look has not ended"
        measures.POLLS.labels("done").inc()
        measures.LAST_POLL.set_to_current_time()

    def note_failed_look(self, trouble: str) -> None:
        """The poller has asked for due rows in vain."""
        self._trouble = trouble
        measures.POLLS.labels("failed").inc()

    def complaint(self) -> str:
        """Why this process should be started anew; empty: it is alive."""
        silent_seconds = time.monotonic() - self._ticked_at
        if silent_seconds < self._patience_seconds:
            return ""
        return f"The loop has stood still for {silent_seconds:.0f} s."

    def obstacle(self) -> str:
        """Why this process does no work now; empty: it does."""
        if self._looked_at is None:
            return f"No due row can be looked for: {self._trouble}."
        silent_seconds = time.monotonic() - self._looked_at
        if silent_seconds < self._patience_seconds:
            return ""
        return f"No due row was looked for in the last {silent_seconds:.0f} s: {self._trouble}."
