"""Have a picture drawn, by a process of its own and a few at a time."""

import asyncio
import os
import sys

import structlog

from app.kernel.config import Settings
from app.kernel.errors import InternalError, Unavailable
from app.kernel.json import json_bytes
from app.pictures.spec import Picture

_AT_ONCE = 2
_SECONDS = 30.0
_INHERITED = ("PATH", "PYTHONPATH", "LANG")
_log = structlog.get_logger(__name__)


class Renderer:
    """Starts the program that draws; at most two at once, so that the rest has processors left."""

    def __init__(self, settings: Settings) -> None:
        self._cache = settings.data_dir / "cache" / "matplotlib"
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def render(self, picture: Picture) -> bytes:
        """The bytes of a picture.

        Raises:
            Unavailable: it takes too long, or too many others are being drawn.
            InternalError: the program failed.
        """
        try:
            async with asyncio.timeout(_SECONDS), self._places:
                return await self._drawn(picture)
        except TimeoutError as error:
            raise Unavailable(
                "The picture is not drawn in time; try again, or ask for less."
            ) from error

    async def _drawn(self, picture: Picture) -> bytes:
        self._cache.mkdir(parents=True, exist_ok=True)
        # The library keeps a list of fonts there, which takes seconds to make.
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment["MPLCONFIGDIR"] = os.fspath(self._cache)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.pictures.drawing"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        try:
            drawn, problems = await process.communicate(json_bytes(picture))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            _log.error("picture_failed", problems=problems.decode(errors="replace")[-2000:])
            raise InternalError("The picture could not be drawn.")
        return drawn
