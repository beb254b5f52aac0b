"""Finds what is left at the provider without an owner, and removes it after a grace period."""

import structlog

from app.kernel.crash_points import CrashPoint, reached
from app.kernel.db import Database
from app.leaks import repository
from app.providers.base import KeepsInputs, NotYetRemoved, Provider, ProviderError
from workers import measures

_log = structlog.get_logger(__name__)


class LeakCollector:
    """Looks again and again; several workers may do so at once."""

    def __init__(self, database: Database, provider: Provider, *, grace_seconds: float) -> None:
        """Make the collector.

        Args:
            database: where owners are found and leaks are noted.
            provider: where to look.
            grace_seconds: for how long a thing may be without an owner before it is removed.
        """
        self._database = database
        self._provider = provider
        self._grace_seconds = grace_seconds

    async def look(self) -> None:
        """Look once: note what nobody owns, and remove what was noted long ago.

        Raises:
            ProviderError: the provider cannot be asked.
        """
        # The provider first: whatever is made has its row already, so nothing new looks unowned.
        held = {("node", name) for name in await self._provider.list_names()}
        held |= {("network", name) for name in await self._provider.list_networks()}
        if isinstance(self._provider, KeepsInputs):
            held |= {("volume", name) for name in await self._provider.list_volumes()}
        async with self._database.session() as session:
            unowned = held - await repository.owned(session)
            found = await repository.note(session, self._provider.name, unowned)
            ripe = await repository.ripe(session, grace_seconds=self._grace_seconds)
        for kind, _ in found:
            measures.LEAKS_FOUND.labels(kind).inc()
        gone = set()
        for kind, name in ripe:
            try:
                await self._remove(kind, name)
                reached(CrashPoint.LEAK_REMOVED)
            except NotYetRemoved:
                continue
            except (ProviderError, OSError) as error:
                # It is tried again at the next look; the others need not wait for it.
                _log.warning("leak_not_removed", kind=kind, name=name, error=str(error))
                continue
            gone.add((kind, name))
            measures.LEAKS_REMOVED.labels(kind).inc()
            _log.warning("leak_removed", kind=kind, name=name)
        if gone:
            async with self._database.session() as session:
                await repository.note(session, self._provider.name, unowned - gone)

    async def _remove(self, kind: str, name: str) -> None:
        if kind == "network":
            await self._provider.remove_network(name)
        elif kind == "volume" and isinstance(self._provider, KeepsInputs):
            await self._provider.remove_volume(name)
        else:
            await self._provider.remove(name)
