"""Takes away, again and again, captured predictions that were kept long enough."""

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.deployments import capture_repository
from app.kernel.db import Database

_log = structlog.get_logger(__name__)


class CaptureExpiry:
    """Looks regularly; several workers may do so at once."""

    def __init__(self, database: Database, *, every_seconds: float) -> None:
        self._database = database
        self._every_seconds = every_seconds

    async def run_forever(self) -> None:
        """Look, wait, look again; an outage only delays it."""
        while True:
            try:
                await self.look()
            except SQLAlchemyError as error:
                _log.warning("captures_not_expired", error=str(error).splitlines()[0])
            await asyncio.sleep(self._every_seconds)

    async def look(self) -> int:
        """Take away what is ripe; returns how many files."""
        async with self._database.session() as session:
            count = await capture_repository.delete_expired(session)
        if count:
            _log.info("captures_expired", files=count)
        return count
