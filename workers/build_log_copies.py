"""Copies what builds print into the logs of the runs that wait for them."""

from sqlalchemy.ext.asyncio import AsyncSession

from app.environments import service as environments
from app.kernel.db import Database
from app.logs import service as logs
from app.logs.repository import find_stream
from app.logs.service import LogReader
from app.runs.transitions import lock_run
from app.storage.objects import ObjectStore
from app.tables.image import Image
from app.tables.run import Run
from workers.reconciler import Guard

BUILD_STREAM = "system_logs/image_build.txt"


class BuildLogCopies:
    """Appends to a run's log what the builds that it waits for have printed.

    A run may wait for one build after another: the first may be broken off with its worker, or be
    of an image that another one takes the place of. Its row says whose log is being copied, and at
    which byte of the run's own that begins.
    """

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects

    async def copy(self, guard: Guard, run: Run, image: Image) -> None:
        """Copy what has come since the last look."""
        owner = environments.build_log_owner(image.id, environments.current_build(image))
        async with self._database.session() as session:
            copied = await find_stream(session, run.id, 1, BUILD_STREAM)
        position = copied.length_bytes if copied else 0
        if image.state == "Ready" and run.build_log_owner is None:
            if copied is None:
                await self._note_reuse(guard, run, image)
            return
        if run.build_log_owner not in (None, owner):
            # The rest of the one before, which has ended.
            position = await self._copy_from(guard, run, str(run.build_log_owner), position)
        if run.build_log_owner != owner:
            async with self._database.session() as session:
                await guard.check(session)
                row = await lock_run(session, run.id)
                row.build_log_owner, row.build_log_start = owner, position
            run.build_log_owner, run.build_log_start = owner, position
        await self._copy_from(guard, run, owner, position)

    async def _copy_from(self, guard: Guard, run: Run, owner: str, position: int) -> int:
        reader = LogReader(
            self._database,
            self._objects,
            owner=owner,
            attempt=1,
            name=environments.BUILD_LOG,
        )
        async for piece in reader.read(position - run.build_log_start):
            async with self._database.session() as session:
                await guard.check(session)
                await _append(session, run, piece, position)
            position += len(piece)
        return position

    async def _note_reuse(self, guard: Guard, run: Run, image: Image) -> None:
        line = f"Environment {image.id[:12]} is built already; nothing to build.\n".encode()
        async with self._database.session() as session:
            await guard.check(session)
            await _append(session, run, line, 0)


async def _append(session: AsyncSession, run: Run, data: bytes, position: int) -> None:
    await logs.append(session, run.id, BUILD_STREAM, data, offset=position)
