"""Fills volumes with the content of inputs, and removes those that have to go."""

from typing import cast

import structlog
from sqlalchemy import Table, func

from app.kernel.crash_points import CrashPoint, reached
from app.providers.base import HostLost, KeepsInputs, NotYetRemoved, ProviderError
from app.providers.docker.engine import EngineAway
from app.runs.repository import dataset_files
from app.storage.errors import StorageError
from app.storage.tree_archive import tree_archive
from app.tables.input_volume import InputVolume
from workers.context import WorkerContext
from workers.reconciler import Guard

_RETRY_SECONDS = 2.0
_log = structlog.get_logger(__name__)


class InputVolumeReconciler:
    """One step: fill it, or remove it. The lease makes it one fill for all who wait."""

    table = cast("Table", InputVolume.__table__)

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._database = context.database

    async def reconcile(self, guard: Guard) -> float | None:
        """Do what the row's state asks for."""
        provider = self._context.provider
        async with self._database.session() as session:
            row = await session.get_one(InputVolume, guard.lease.row_id)
        if not isinstance(provider, KeepsInputs):
            return None
        if row.state == "Wanted":
            return await self._fill(guard, provider, row)
        if row.state == "Leaving":
            return await self._remove(guard, provider, row)
        return None

    async def _fill(self, guard: Guard, provider: KeepsInputs, row: InputVolume) -> float | None:
        if row.version_id is None:
            await self._write(guard, "Failed", "The dataset version was deleted.")
            return None
        async with self._database.session() as session:
            files = await dataset_files(session, row.version_id)
        archive = tree_archive(self._context.objects, files)
        try:
            await provider.fill_volume(row.id, archive, image=row.image, host=row.host)
        except EngineAway as error:
            await self._write(guard, "Wanted", str(error))
            return _RETRY_SECONDS
        except NotYetRemoved:
            return _RETRY_SECONDS
        except (ProviderError, StorageError) as error:
            _log.warning("input_not_kept", volume=row.id, error=str(error))
            await self._write(guard, "Failed", str(error))
            return None
        reached(CrashPoint.VOLUME_FILLED)
        _log.info("input_kept", volume=row.id, host=row.host, size_bytes=row.size_bytes)
        await self._write(guard, "Ready", None)
        return None

    async def _remove(self, guard: Guard, provider: KeepsInputs, row: InputVolume) -> float | None:
        try:
            await provider.remove_volume(row.id, host=row.host)
        except NotYetRemoved:
            # A node mounts it: it is used, whatever the row said.
            await self._write(guard, "Ready", None)
            return None
        except HostLost:
            pass  # with all that was on it
        except ProviderError as error:
            _log.warning("provider_unavailable", volume=row.id, error=str(error))
            return _RETRY_SECONDS
        reached(CrashPoint.VOLUME_REMOVED)
        async with self._database.session() as session:
            await guard.check(session)
            await session.delete(await session.get_one(InputVolume, row.id))
        return None

    async def _write(self, guard: Guard, state: str, error: str | None) -> None:
        async with self._database.session() as session:
            await guard.check(session)
            row = await session.get_one(InputVolume, guard.lease.row_id)
            row.state, row.error = state, error
            if state == "Ready":
                row.last_used_at = func.clock_timestamp()
