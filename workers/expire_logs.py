"""Takes away, again and again, the logs that their workspaces keep no longer."""

import structlog

from app.environments import log_retention as build_logs
from app.kernel.db import Database
from app.runs import log_retention

_AT_ONCE = 100
_ACTOR = "worker"
_log = structlog.get_logger(__name__)


class LogExpiry:
    """Looks regularly; several workers may do so at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look(self) -> int:
        """Take away what is ripe; returns of how many runs."""
        async with self._database.session() as session:
            builds = await build_logs.expire(session)
        if builds:
            _log.info("build_logs_expired", streams=builds)
        count = 0
        while True:
            async with self._database.session() as session:
                run_ids = await log_retention.ripe(session, limit=_AT_ONCE)
            for run_id in run_ids:
                async with self._database.session() as session:
                    await log_retention.expire(session, run_id, actor=_ACTOR)
            count += len(run_ids)
            if len(run_ids) < _AT_ONCE:
                if count:
                    _log.info("logs_expired", runs=count)
                return count
