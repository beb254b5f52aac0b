"""Builds images, and removes those that nobody has used for long."""

import asyncio
import time
from typing import cast

import structlog
from sqlalchemy import Table, func
from sqlalchemy.ext.asyncio import AsyncSession

from app.environments import repository
from app.environments.builders import ImageBuilder, make_builder
from app.environments.built import BuildFailed, BuiltImage
from app.environments.docker_builder import DockerImageBuilder
from app.environments.image_engine import EngineRefused, EngineUnavailable
from app.environments.machine import this_machine
from app.environments.registry_api import RegistryUnavailable
from app.environments.resolved import Machine, ResolvedSpec
from app.environments.service import build_log_owner, is_local
from app.environments.states import ImageState
from app.kernel.config import Settings
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.db import Database
from app.kernel.wake import wake
from app.logs import sealing
from app.storage.objects import ObjectStore
from app.tables.deployment import Deployment
from app.tables.image import Image
from app.tables.run import Run
from workers import measures
from workers.build_log import BuildLog
from workers.engine_refusals import persist
from workers.failing import failing, is_failing
from workers.reconciler import Guard
from workers.resolve_base import BaseResolution

_ENGINE_SECONDS = 2.0
_REFUSED_SECONDS = 60.0
_REGISTRY_SECONDS = 3600.0
_SECONDS_PER_DAY = 86400.0
_WANTED = (ImageState.QUEUED, ImageState.BUILDING)
_log = structlog.get_logger(__name__)


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
        try:
            pause = await self._step(guard, image, machine, builder)
        except EngineUnavailable as error:
            _log.warning("engine_unavailable", image=image.id, error=str(error))
            pause = _ENGINE_SECONDS
        except EngineRefused as error:
            # Of a finished or a deleted image: a container may still use what is to go.
            _log.warning("engine_refused", image=image.id, error=error.words)
            pause = _REFUSED_SECONDS
        if is_failing(image.error):
            await self._say(guard, None)
        return pause

    async def say_failed(self, guard: Guard, error: str) -> None:
        """Let an image say that looks at it fail, as long as somebody may wait for it."""
        await self._say(guard, failing("the image", error))

    async def _say(self, guard: Guard, error: dict[str, str] | None) -> None:
        async with self._database.session() as session:
            await guard.check(session)
            image = await session.get_one(Image, guard.lease.row_id)
            if image.state in _WANTED:
                image.error = error

    async def _step(
        self, guard: Guard, image: Image, machine: Machine, builder: ImageBuilder
    ) -> float | None:
        if image.state in _WANTED:
            spec = ResolvedSpec.from_canonical(image.spec)
            if spec.needs_base_digest and isinstance(builder, DockerImageBuilder):
                return await self._resolve_base(guard, image, builder)
            await self._build(guard, image, spec, machine, builder)
            return self._keep_seconds()
        if image.state == ImageState.READY:
            is_here = is_local(image.reference)
            if is_here and await asyncio.to_thread(builder.find, image.id) is None:
                await self._lose(guard)
                return 0.0
            return await self._retire(guard)
        if image.state == ImageState.DELETED:
            try:
                await asyncio.to_thread(builder.remove, image.id)
            except RegistryUnavailable as error:
                _log.warning("image_left_in_registry", image=image.id, error=str(error))
                return _REGISTRY_SECONDS
        return None

    async def _build(
        self,
        guard: Guard,
        image: Image,
        spec: ResolvedSpec,
        machine: Machine,
        builder: ImageBuilder,
    ) -> None:
        # An engine that is away is noticed here, before a build is begun.
        finished = await _find(builder, spec.spec_hash)
        number = await self._begin(guard)
        if number is None:
            return
        reached(CrashPoint.BUILD_BEGUN)
        owner = build_log_owner(image.id, number)
        log = BuildLog(self._database, guard, owner)
        began = time.perf_counter()
        try:
            built = await log.during(_make(builder, spec, finished, machine, image.lock, log))
        except BuildFailed as error:
            await self._fail(guard, log, owner, error)
            outcome = "failed"
        else:
            reached(CrashPoint.BUILD_MARKED)
            await self._end(guard, owner, built=built, error=None)
            outcome = "ready"
        measures.IMAGE_BUILD_SECONDS.labels(outcome).observe(time.perf_counter() - began)

    async def _resolve_base(
        self, guard: Guard, image: Image, builder: DockerImageBuilder
    ) -> float | None:
        try:
            resolution = BaseResolution(self._database, builder)
            await persist(lambda: resolution.resolve(guard, image), _leave_untold)
        except BuildFailed as error:
            number = await self._begin(guard)
            if number is not None:
                owner = build_log_owner(image.id, number)
                await self._fail(guard, BuildLog(self._database, guard, owner), owner, error)
        else:
            async with self._database.session() as session:
                await _wake_waiting(session, image.id)
        return None

    async def _fail(self, guard: Guard, log: BuildLog, owner: str, error: BuildFailed) -> None:
        await log.write(f"{error.message}\n".encode())
        await log.flush()
        await self._end(guard, owner, built=None, error=error)

    async def _begin(self, guard: Guard) -> int | None:
        """Number this build; the log of one that was broken off ends where it is.

        None: the image was deleted just now, and is not to be built.
        """
        async with self._database.session() as session:
            await guard.check(session)
            image = await session.get_one(Image, guard.lease.row_id)
            if image.state not in (ImageState.QUEUED, ImageState.BUILDING):
                return None
            broken_off = image.build_number if image.state == ImageState.BUILDING else 0
            image.state = ImageState.BUILDING
            image.build_number += 1
            if is_failing(image.error):
                image.error = None
            image.build_started_at = func.clock_timestamp()
            image.build_ended_at = None
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
            image.build_ended_at = func.clock_timestamp()
            if image.state != ImageState.BUILDING:
                # It was deleted meanwhile, and may be wanted again: the next step sees to that.
                return
            if built is not None:
                image.state = ImageState.READY
                image.error = None
                image.python = str(built.python)
                image.reference = built.reference
                image.lock = built.lock
                image.packages = built.packages
                image.system_packages = built.system_packages
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


def _make(
    builder: ImageBuilder,
    spec: ResolvedSpec,
    finished: BuiltImage | None,
    machine: Machine,
    lock: str | None,
    log: BuildLog,
) -> "asyncio.Task[BuiltImage]":
    async def build() -> BuiltImage:
        interpreter = machine.interpreter(spec.python_version)
        if lock is not None:
            await log.write(b"Building again with the packages of the first build.\n")
            try:
                return await builder.build(spec, interpreter, on_output=log.write, lock=lock)
            except BuildFailed:
                await log.write(b"Some of them cannot be had any more; resolving anew.\n")
        return await builder.build(spec, interpreter, on_output=log.write)

    async def find_or_build() -> BuiltImage:
        found = finished
        while True:
            try:
                if found is not None:
                    await log.write(b"A finished environment was found; nothing to build.\n")
                    return found
                return await persist(build, log.write)
            except EngineUnavailable as error:
                text = f"{error}\nThe build goes on when the engine is back.\n"
                await log.write(text.encode())
                found = await _await_engine(builder, spec.spec_hash)

    return asyncio.create_task(find_or_build())


async def _await_engine(builder: ImageBuilder, spec_hash: str) -> BuiltImage | None:
    """Wait until the engine answers; the lease bounds it. It may have finished the image."""
    while True:
        await asyncio.sleep(_ENGINE_SECONDS)
        try:
            return await _find(builder, spec_hash)
        except EngineUnavailable:
            continue


async def _find(builder: ImageBuilder, spec_hash: str) -> BuiltImage | None:
    """A finished image; where the engine refuses to say, the build says what it refuses."""
    try:
        return await asyncio.to_thread(builder.find, spec_hash)
    except EngineRefused as error:
        _log.warning("engine_refused", image=spec_hash, error=error.words)
        return None


async def _leave_untold(_: bytes) -> None:
    """Before a build begins there is no log; a refusal that stays is the image's error."""


async def _wake_waiting(session: AsyncSession, image_id: str) -> None:
    for run_id in sorted(await repository.waiting_runs(session, image_id)):
        await wake(session, Run, run_id)
    for deployment_id in sorted(await repository.deployments(session, image_id)):
        await wake(session, Deployment, deployment_id)
