"""Takes away, again and again, the logs that their workspaces keep no longer."""

import structlog

from app.deployments import log_retention as deployment_logs
from app.environments import log_retention as build_logs
from app.kernel.db import Database
from app.logs import orphans
from app.runs import log_retention
from workers.apart import apart

_AT_ONCE = 100
_ACTOR = "worker"
_log = structlog.get_logger(__name__)


class LogExpiry:
    """Looks regularly; several workers may do so at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look(self) -> int:
        """Take away what is ripe; returns of how many runs.

        Those whose rows do not allow it keep theirs until the next look.
        """
        async with self._database.session() as session:
            builds = await build_logs.expire(session)
            without_owner = await orphans.expire(session)
        runs = await self._of_runs()
        pieces = await self._of_deployments()
        if builds or without_owner or pieces or runs:
            _log.info(
                "logs_expired",
                runs=runs,
                streams_of_builds=builds,
                pieces_of_deployments=pieces,
                streams_without_owner=without_owner,
            )
        return runs

    async def _of_deployments(self) -> int:
        count = 0
        async with self._database.session() as session:
            found = await deployment_logs.ripe(session)
        for each in found:
            gone = deployment_logs.CHUNKS_AT_ONCE
            while gone == deployment_logs.CHUNKS_AT_ONCE:
                async with self._database.session() as session:
                    gone = await deployment_logs.expire(session, each)
                count += gone
        return count

    async def _of_runs(self) -> int:
        count = 0
        failed: dict[str, str] = {}
        while True:
            async with self._database.session() as session:
                run_ids = await log_retention.ripe(session, limit=_AT_ONCE, but=list(failed))
            for run_id in run_ids:
                async with self._database.session() as session, apart(session, run_id, failed):
                    await log_retention.expire(session, run_id, actor=_ACTOR)
            count += len(run_ids)
            if len(run_ids) < _AT_ONCE:
                return count - len(failed)
