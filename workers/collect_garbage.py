"""Frees, again and again, the space of bytes that nothing refers to, of uploads given up or broken
off, and of compiled wheels that no environment asks for any more."""

import asyncio

import structlog

from app.datastores import service as datastores
from app.deployments.program import program_files
from app.environments.wheels import WheelCache
from app.garbage import service as garbage
from app.kernel.config import Settings
from app.kernel.db import Database
from app.metrics import export
from app.storage.objects import ObjectStore
from app.uploads import abandoned
from workers import measures

_ABANDONED_SECONDS = 24 * 3600.0
_SECONDS_PER_DAY = 24 * 3600.0
_log = structlog.get_logger(__name__)


class GarbageCollector:
    """Collects regularly; several workers may do so at once."""

    def __init__(self, database: Database, objects: ObjectStore, *, settings: Settings) -> None:
        """Make the collector.

        Args:
            database: where references are.
            objects: where bytes are.
            settings: say how long and how much is kept.
        """
        self._database = database
        self._objects = objects
        self._settings = settings

    async def clean(self) -> None:
        """Throw away what crashed writers left."""
        await asyncio.to_thread(self._objects.clean_incoming, older_than_seconds=_ABANDONED_SECONDS)
        await asyncio.to_thread(
            export.remove_left, self._settings.data_dir, older_than_seconds=_ABANDONED_SECONDS
        )

    async def clean_datastores(self) -> int:
        """Remove what uploads that broke off left in folders; returns how many files."""
        async with self._database.session() as session:
            folders = await datastores.open_folders(session, self._settings)
        count = 0
        for folder in folders:
            count += await asyncio.to_thread(
                folder.remove_parts, older_than_seconds=_ABANDONED_SECONDS
            )
        if count:
            _log.info("datastores_cleaned", files=count)
        return count

    async def collect(self) -> None:
        """Collect once."""
        await self.clean()
        given_up = await abandoned.give_up_abandoned(self._database, self._objects)
        sparing = [file.sha256 for file in program_files()]
        done = await garbage.collect(
            self._database,
            self._objects,
            unused_for_seconds=self._settings.unreferenced_keep_hours * 3600.0,
            sparing=sparing,
        )
        await garbage.shrink_cache(self._objects, max_bytes=self._settings.object_cache_max_bytes)
        wheels = await asyncio.to_thread(
            WheelCache(self._settings.compiled_wheels_dir).collect,
            unused_for_seconds=self._settings.image_keep_days * _SECONDS_PER_DAY,
        )
        measures.FREED_BYTES.inc(done.freed_bytes)
        if given_up or wheels or done.names_count or done.objects_count:
            _log.info(
                "garbage_collected",
                uploads=given_up,
                wheels=wheels,
                names=done.names_count,
                objects=done.objects_count,
                freed_bytes=done.freed_bytes,
            )
