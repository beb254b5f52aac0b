"""The log of a build: written while it goes on, copied into the logs of the runs that wait."""

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.environments.built import BuiltImage
from app.environments.service import BUILD_LOG
from app.kernel.db import Database
from app.logs import service as logs
from workers.reconciler import Guard

_FLUSH_SECONDS = 0.2
_GUARD_SECONDS = 5.0
_LAST_FLUSHES = 50
"""So often the end of the log is tried: for ten seconds at least."""
_MOST_PENDING_BYTES = 4 * 1024**2
_log = structlog.get_logger(__name__)


class BuildLog:
    """Collects output and appends it to the log a few times a second, while the lease holds."""

    def __init__(self, database: Database, guard: Guard, owner: str) -> None:
        self._database = database
        self._guard = guard
        self._owner = owner
        self._pending = bytearray()
        self._is_waiting = False

    async def write(self, lines: bytes) -> None:
        """Take lines."""
        self._pending += lines

    async def during(self, build: "asyncio.Task[BuiltImage]") -> BuiltImage:
        """Wait for a build and pass on its output; a lost lease ends it."""
        silent_seconds = 0.0
        try:
            while not build.done():
                await asyncio.wait([build], timeout=_FLUSH_SECONDS)
                silent_seconds += _FLUSH_SECONDS
                if self._pending or silent_seconds >= _GUARD_SECONDS:
                    silent_seconds = 0.0
                    await self.flush()
            for _ in range(_LAST_FLUSHES):
                if await self.flush():
                    break
                await asyncio.sleep(_FLUSH_SECONDS)
            return build.result()
        finally:
            build.cancel()
            await asyncio.wait([build])

    async def flush(self) -> bool:
        """Append what was collected; without the database it waits, the newest of it at least.

        Returns:
            Whether nothing waits any more.

        Raises:
            LeaseLost: somebody newer builds this image.
        """
        lines = bytes(self._pending)
        try:
            async with self._database.session() as session:
                await self._guard.check(session)
                await logs.append(session, self._owner, BUILD_LOG, lines)
        except SQLAlchemyError as error:
            # A build takes long; an outage may be short.
            if not self._is_waiting:
                _log.warning("build_log_waits", error=str(error).partition("\n")[0])
            self._is_waiting = True
            del self._pending[:-_MOST_PENDING_BYTES]
            return False
        self._is_waiting = False
        del self._pending[: len(lines)]
        return True
