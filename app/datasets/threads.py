"""Threads for fetches, apart from those of local files: slow servers must not starve the store."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

MAX_THREADS = 16
R = TypeVar("R")
_limiter: RunVar[CapacityLimiter] = RunVar("dataset_fetches")


async def in_fetch_thread(call: Callable[[], R]) -> R:
    """Run a blocking fetch; at most `MAX_THREADS` at once in this event loop."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(MAX_THREADS)
        _limiter.set(limiter)
    return await to_thread.run_sync(call, limiter=limiter)
