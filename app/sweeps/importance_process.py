"""Has importance computed by a process of its own, a few at a time."""

import asyncio
import json
import os
import sys
from typing import Any

import structlog

from app.kernel.errors import InternalError, Unavailable

FEWEST_TRIALS = 4
"""A forest of fewer says nothing."""
_SECONDS = 50.0
_INHERITED = ("PATH", "PYTHONPATH", "LANG")
_places = asyncio.Semaphore(2)
_log = structlog.get_logger(__name__)


async def computed(places: list[dict[str, float | int]], values: list[float]) -> dict[str, float]:
    """What `app.sweeps.importance` says.

    Raises:
        Unavailable: it takes too long, or too many others are being computed.
        InternalError: the program failed.
    """
    try:
        async with asyncio.timeout(_SECONDS), _places:
            return await _computed({"places": places, "values": values})
    except TimeoutError as error:
        raise Unavailable("The importance is not computed in time; try again.") from error


async def _computed(given: dict[str, Any]) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.sweeps.importance"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: os.environ[name] for name in _INHERITED if name in os.environ},
    )
    try:
        found, problems = await process.communicate(json.dumps(given).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        _log.error("importance_failed", said=problems.decode(errors="replace")[-2000:])
        raise InternalError("The importance could not be computed.")
    answer: dict[str, float] = json.loads(found)
    return answer
