"""Takes away, again and again, captured predictions that were kept long enough."""

import structlog

from app.deployments import capture_repository
from app.kernel.db import Database

_log = structlog.get_logger(__name__)


class CaptureExpiry:
    """Looks regularly; several workers may do so at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look(self) -> int:
        """Take away what is ripe; returns how many files."""
        async with self._database.session() as session:
            count = await capture_repository.delete_expired(session)
        if count:
            _log.info("captures_expired", files=count)
        return count
