"""Writes down which hosts there are, and lets the planner know when one comes or goes."""

import structlog

from app.hosts import repository
from app.kernel.db import Database
from app.planning.service import wake_planner
from app.providers.base import Provider

_log = structlog.get_logger(__name__)


class HostWatcher:
    """Looks again and again; several workers may do so at once."""

    def __init__(self, database: Database, provider: Provider) -> None:
        """Make the watcher.

        Args:
            database: where hosts are written down.
            provider: where to look.
        """
        self._database = database
        self._provider = provider

    async def look(self) -> None:
        """Look once.

        Raises:
            ProviderError: the provider cannot be asked.
        """
        hosts = await self._provider.hosts()
        seen = [
            {
                "name": host.name,
                "provider": self._provider.name,
                "state": str(host.state),
                "detail": host.detail,
                "address": host.address,
                "cores": host.capacity.cores,
                "memory_bytes": host.capacity.memory_bytes,
                "gpus": host.capacity.gpus,
                "labels": dict(host.labels),
            }
            for host in hosts
        ]
        async with self._database.session() as session:
            before = await repository.states(session)
            await repository.write(session, seen)
            now = {host.name: str(host.state) for host in hosts}
            if before and before != now:
                _log.warning("hosts_changed", before=before, now=now)
                await wake_planner(session)
