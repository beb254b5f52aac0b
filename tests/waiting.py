"""Waiting for a condition, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable

_LOOK_SECONDS = 0.05


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 90.0) -> None:
    """Wait until the condition holds."""
    ends_at = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < ends_at, "it did not come to pass in time"
        await asyncio.sleep(_LOOK_SECONDS)
