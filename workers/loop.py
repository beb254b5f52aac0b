"""The event loop of a worker process, in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


class LoopThread:
    """One event loop that Celery's threads hand coroutines to."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the loop and do not wait for it."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, None], *, timeout_seconds: float) -> None:
        """Run a coroutine in the loop and wait for its end."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_seconds)

    def stop(self) -> None:
        """End the loop; what still runs in it is dropped and found again by the next worker."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
