"""Lets volumes with inputs go that nobody has used for long, or that take too much room."""

import structlog

from app.kernel.config import Settings
from app.kernel.db import Database
from app.runs import input_volumes

_DAY_SECONDS = 24 * 3600.0
_log = structlog.get_logger(__name__)


class InputEvictor:
    """Looks again and again; several workers may do so at once."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def look(self) -> None:
        """Look once."""
        async with self._database.session() as session:
            await input_volumes.evict(
                session,
                max_bytes=self._settings.input_cache_bytes,
                keep_seconds=self._settings.input_cache_keep_days * _DAY_SECONDS,
            )
