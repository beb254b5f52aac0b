"""Builds images, and removes those that nobody has used for long."""

import asyncio
from typing import cast

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncSession

from app.environments import repository
from app.environments.builders import ImageBuilder, make_builder
from app.environments.machine import this_machine
from app.environments.resolved import Machine, ResolvedSpec
from app.environments.service import BUILD_LOG, build_log_owner, is_local
from app.environments.states import ImageState
from app.environments.venv_builder import BuildFailed, BuiltImage
from app.kernel.config import Settings
from app.kernel.db import Database
from app.kernel.wake import wake
from app.logs import sealing
from app.logs import service as logs
from app.storage.objects import ObjectStore
from app.tables.deployment import Deployment
from app.tables.image import Image
from app.tables.run import Run
from workers.reconciler import Guard

_FLUSH_SECONDS = 0.2
_GUARD_SECONDS = 5.0
_SECONDS_PER_DAY = 86400.0


class ImageReconciler:
    """One step: build, or look whether the image is still wanted, or remove its files."""

    table = cast("Table", Image.__table__)

    def __init__(self, database: Database, objects: ObjectStore, settings: Settings) -> None:
        self._database = database
        self._objects = objects
        self._settings = settings

    async def reconcile(self, guard: Guard) -> float | None:
        """Move one image; says when a ready one may have become superfluous."""
        async with self._database.session() as session:
            image = await session.get_one(Image, guard.lease.row_id)
        machine = await asyncio.to_thread(this_machine, self._settings)
        builder = make_builder(self._settings, machine)
        if image.state in (ImageState.QUEUED, ImageState.BUILDING):
            await self._build(guard, image, machine, builder)
            return self._keep_seconds()
        if image.state == ImageState.READY:
            if is_local(image) and await asyncio.to_thread(builder.find, image.id) is None:
                await self._lose(guard)
                return 0.0
            return await self._retire(guard)
        if image.state == ImageState.DELETED:
            await asyncio.to_thread(builder.remove, image.id)
        return None

    async def _build(
        self, guard: Guard, image: Image, machine: Machine, builder: ImageBuilder
    ) -> None:
        number = await self._begin(guard)
        owner = build_log_owner(image.id, number)
        spec = ResolvedSpec.from_canonical(image.spec)
        log = _BuildLog(self._database, guard, owner)
        try:
            built = await log.during(_make(builder, spec, machine, image.lock, log))
        except BuildFailed as error:
            await log.write(f"{error.message}\n".encode())
            await log.flush()
            await self._end(guard, owner, built=None, error=error)
        else:
            await self._end(guard, owner, built=built, error=None)

    async def _begin(self, guard: Guard) -> int:
        """Number this build; the log of one that was broken off ends where it is."""
        async with self._database.session() as session:
            await guard.check(session)
            image = await session.get_one(Image, guard.lease.row_id)
            broken_off = image.build_number if image.state == ImageState.BUILDING else 0
            image.state = ImageState.BUILDING
            image.build_number += 1
            number = image.build_number
        if broken_off:
            await self._seal(build_log_owner(guard.lease.row_id, broken_off))
        return number

    async def _end(
        self, guard: Guard, owner: str, *, built: BuiltImage | None, error: BuildFailed | None
    ) -> None:
        await self._seal(owner)
        async with self._database.session() as session:
            await guard.check(session)
            image = await session.get_one(Image, guard.lease.row_id)
            if built is not None:
                image.state = ImageState.READY
                image.error = None
                image.python = str(built.python)
                image.reference = built.reference
                image.lock = built.lock
                image.packages = built.packages
                image.size_bytes = built.size_bytes
                image.build_seconds = built.build_seconds
            if error is not None:
                image.state = ImageState.FAILED
                image.error = {"code": error.code, "message": error.message}
            await session.flush()
            await _wake_waiting(session, image.id)

    async def _seal(self, owner: str) -> None:
        await sealing.seal(self._database, self._objects, owner)

    async def _lose(self, guard: Guard) -> None:
        """Somebody removed the image from the engine by hand: have it built again."""
        async with self._database.session() as session:
            await guard.check(session)
            image = await session.get_one(Image, guard.lease.row_id)
            if image.state == ImageState.READY:
                image.state = ImageState.QUEUED
                image.python = None
                image.reference = None

    async def _retire(self, guard: Guard) -> float | None:
        """Mark an image that was not used for the days to keep it; its files go in the next step.

        The row is locked here and in `ensure_image`: a run that wants it either came before and
        is seen, or comes after and has it built again.
        """
        async with self._database.session() as session:
            await guard.check(session)
            image = await session.get_one(Image, guard.lease.row_id)
            left = self._keep_seconds() - await repository.unused_seconds(session, image.id)
            if left > 0:
                return left
            if await repository.is_in_use(session, image.id):
                await repository.touch(session, image.id)
                return self._keep_seconds()
            image.state = ImageState.DELETED
            image.python = None
            image.reference = None
        return 0.0

    def _keep_seconds(self) -> float:
        return self._settings.image_keep_days * _SECONDS_PER_DAY


class _BuildLog:
    """Collects output and appends it to the log a few times a second, while the lease holds."""

    def __init__(self, database: Database, guard: Guard, owner: str) -> None:
        self._database = database
        self._guard = guard
        self._owner = owner
        self._pending = bytearray()

    async def write(self, lines: bytes) -> None:
        """Take lines."""
        self._pending += lines

    async def during(self, build: "asyncio.Task[BuiltImage]") -> BuiltImage:
        """Wait for a build and pass on its output; a lost lease ends it."""
        silent_seconds = 0.0
        try:
            while not build.done():
                await asyncio.wait([build], timeout=_FLUSH_SECONDS)
                silent_seconds += _FLUSH_SECONDS
                if self._pending or silent_seconds >= _GUARD_SECONDS:
                    silent_seconds = 0.0
                    await self.flush()
            await self.flush()
            return build.result()
        finally:
            build.cancel()
            await asyncio.wait([build])

    async def flush(self) -> None:
        """Append what was collected.

        Raises:
            LeaseLost: somebody newer builds this image.
        """
        lines = bytes(self._pending)
        async with self._database.session() as session:
            await self._guard.check(session)
            await logs.append(session, self._owner, BUILD_LOG, lines)
        del self._pending[: len(lines)]


def _make(
    builder: ImageBuilder, spec: ResolvedSpec, machine: Machine, lock: str | None, log: _BuildLog
) -> "asyncio.Task[BuiltImage]":
    async def find_or_build() -> BuiltImage:
        finished = await asyncio.to_thread(builder.find, spec.spec_hash)
        if finished is not None:
            await log.write(b"A finished environment was found; nothing to build.\n")
            return finished
        interpreter = machine.interpreter(spec.python_version)
        if lock is not None:
            await log.write(b"Building again with the packages of the first build.\n")
            try:
                return await builder.build(spec, interpreter, on_output=log.write, lock=lock)
            except BuildFailed:
                await log.write(b"Some of them cannot be had any more; resolving anew.\n")
        return await builder.build(spec, interpreter, on_output=log.write)

    return asyncio.create_task(find_or_build())


async def _wake_waiting(session: AsyncSession, image_id: str) -> None:
    for run_id in sorted(await repository.waiting_runs(session, image_id)):
        await wake(session, Run, run_id)
    for deployment_id in sorted(await repository.deployments(session, image_id)):
        await wake(session, Deployment, deployment_id)
