"""Loads each new model version once, in a node of its own, for its signature and a sample.

Nothing here reads the user's files: the node does, in the model's environment, with the limits of
any other node. Registration waits for none of it.
"""

import asyncio
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.principal import Principal
from app.blobs import repository as blobs
from app.deployments.program import publish_program
from app.deployments.service import serving_environment
from app.environments import service as environments
from app.environments.states import ImageState
from app.kernel.clock import database_now
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.errors import DomainError
from app.kernel.wake import wake
from app.model_captures import repository
from app.model_captures.decide import (
    WHOLE_SECONDS,
    Again,
    Decision,
    Failed,
    Reported,
    View,
    Wait,
    decide,
    error,
)
from app.model_captures.environment import can_load
from app.model_captures.order import node_name
from app.model_captures.report import MAX_REPORT_BYTES, Report, read_report
from app.models.kind import Kind
from app.models.schemas import ResourceConfiguration
from app.providers.base import (
    LOCAL,
    ImageMissing,
    NodeRefused,
    NodeSpec,
    NotYetRemoved,
    ProviderError,
)
from app.storage.errors import ObjectCorrupt, ObjectMissing
from app.tables.image import Image
from app.tables.model import ModelCapture, ModelVersion
from workers.context import WorkerContext
from workers.failing import failing, is_failing
from workers.reconciler import Guard

_GIB = 1024**3
_OVER = ("Captured", "Failed")
_LOOK_SECONDS = 2.0
_TURN_SECONDS = 10.0
_IMAGE_SECONDS = 5.0
_NOT_YET_SECONDS = 1.0
_PROVIDER_CHECK_SECONDS = 5.0


class ModelCaptureReconciler:
    """One step: Pending becomes Running, Running Captured or Failed; then the node goes away."""

    table = cast("Table", ModelCapture.__table__)

    def __init__(self, context: WorkerContext) -> None:
        self._context = context

    async def reconcile(self, guard: Guard) -> float | None:
        """Do what can be done now; says when to look again."""
        async with self._context.database.session() as session:
            row = await session.get(ModelCapture, guard.lease.row_id)
        if row is None:
            return None
        pause = await self._step(guard, row)
        if is_failing(row.error):
            await self._say(guard, None)
        return pause

    async def say_failed(self, guard: Guard, error: str) -> None:
        """Let the capture say that looks at it fail, as long as it has not ended."""
        found = failing("the capture", error)
        await self._say(guard, {**found, "last_lines": []})

    async def _say(self, guard: Guard, error: dict[str, Any] | None) -> None:
        async with self._context.database.session() as session:
            await guard.check(session)
            row = await session.get(ModelCapture, guard.lease.row_id)
            if row is not None and row.state not in _OVER:
                row.error = error

    async def _step(self, guard: Guard, row: ModelCapture) -> float | None:
        try:
            if row.state in _OVER:
                return await self._clean(guard, row)
            if row.state == "Running":
                return await self._look(guard, row)
            if row.node_name is None:
                return await self._prepare(guard)
            return await self._start(guard, row)
        except NodeRefused as refusal:
            failed = Failed(error("node_start_failed", str(refusal)))
            return await self._settle(guard, failed, [])
        except ImageMissing as missing:
            return await self._replace_image(guard, row, missing)
        except ProviderError as trouble:
            if row.node_name is not None and await self._is_start_overdue(row):
                # The others wait for its turn.
                return await self._settle(
                    guard, Failed(error("node_start_failed", str(trouble))), []
                )
            return _PROVIDER_CHECK_SECONDS

    async def _prepare(self, guard: Guard) -> float | None:
        """Have an environment; when it is there, take a turn and with it a node's name."""
        settings = self._context.settings
        most = settings.model_captures_at_once
        if most == 0:
            await self._leave_off(guard)
            return None
        try:
            async with self._context.database.session() as session:
                await guard.check(session)
                row = await session.get_one(ModelCapture, guard.lease.row_id)
                image = await self._image(session, row)
                row.image_id = image.id
                is_ready = image.state == ImageState.READY
                if is_ready and await repository.nodes_count(session) >= most:
                    return _TURN_SECONDS
                if is_ready:
                    row.start += 1
                    row.node_name = node_name(row.id, row.start)
                    row.started_at = func.clock_timestamp()
                    row.result = None
        except DomainError as problem:
            if problem.retryable:
                raise
            failed = Failed(error(problem.code, problem.detail))
            return await self._settle(guard, failed, [])
        if image.state == ImageState.FAILED:
            words = f"The environment could not be built. {(image.error or {}).get('message', '')}"
            failed = Failed(error("environment_build_failed", words.strip()))
            return await self._settle(guard, failed, [])
        return 0.0 if is_ready else _IMAGE_SECONDS

    async def _image(self, session: AsyncSession, row: ModelCapture) -> Image:
        """The environment: that of the run that made the model, else that of deployments."""
        workspace, version = await repository.owner(session, row)
        if row.image_id is not None:
            image = await session.get_one(Image, row.image_id)
            if image.state == ImageState.RESOLVED and image.resolved_to is not None:
                image = await session.get_one(Image, image.resolved_to)
            if image.state not in (ImageState.DELETED, ImageState.RESOLVED):
                return image
        made_in = version.lineage.get("image_hash")
        image_of_run = None if made_in is None else await session.get(Image, made_in)
        if (
            image_of_run is not None
            and image_of_run.state == ImageState.READY
            and can_load(version.kind, image_of_run.spec)
        ):
            return image_of_run
        _, image = await serving_environment(
            session, self._context.settings, workspace, version, use_gpu=False
        )
        return image

    async def _start(self, guard: Guard, row: ModelCapture) -> float:
        """Start the node; one of its name that is there, or has been, is adopted."""
        if row.result is None and not await self._ensure(row):
            # Its environment went away since the node got its name: it is made again.
            return await self._give_up(guard, row)
        async with self._context.database.session() as session:
            await guard.check(session)
            row = await session.get_one(ModelCapture, guard.lease.row_id)
            row.state = "Running"
        return _LOOK_SECONDS

    async def _is_start_overdue(self, row: ModelCapture) -> bool:
        if row.state != "Pending" or row.started_at is None:
            return False
        async with self._context.database.session() as session:
            now = await database_now(session)
        return (now - row.started_at).total_seconds() > WHOLE_SECONDS

    async def _ensure(self, row: ModelCapture) -> bool:
        """Have the node there; False: there is no environment for it."""
        stored = await publish_program(self._context.objects)
        async with self._context.database.session() as session:
            workspace, version = await repository.owner(session, row)
            image = None if row.image_id is None else await session.get(Image, row.image_id)
            if image is None or image.state != ImageState.READY:
                return False
            await blobs.add(session, workspace.id, stored)
        spec = await self._spec(row, version, image, workspace.id)
        reached(CrashPoint.CAPTURE_NAMED)
        await self._context.provider.ensure(spec)
        reached(CrashPoint.CAPTURE_STARTED)
        return True

    async def _spec(
        self, row: ModelCapture, version: ModelVersion, image: Image, workspace_id: str
    ) -> NodeSpec:
        assert row.node_name is not None
        wanted = ResourceConfiguration.model_validate(version.resource_configuration)
        capacity = await self._context.provider.capacity()
        token = self._context.signer.issue(
            Principal(
                kind="node",
                id=row.node_name,
                name=f"node {row.node_name}",
                workspace_id=workspace_id,
                attempt=row.start,
            )
        )
        return NodeSpec(
            name=row.node_name,
            endpoint=self._context.settings.nodes_base_url,
            token=token,
            cores=min(wanted.cpu, capacity.cores),
            memory_bytes=min(int(wanted.memory_gb * _GIB), capacity.memory_bytes),
            image=image.reference,
        )

    async def _look(self, guard: Guard, row: ModelCapture) -> float | None:
        assert row.node_name is not None
        assert row.started_at is not None
        is_alive = await self._context.provider.is_alive(row.node_name)
        result, now = await self._told(row)
        view = View(
            start=row.start,
            is_alive=is_alive,
            seconds=(now - row.started_at).total_seconds(),
            result=result,
        )
        decision = decide(view)
        if isinstance(decision, Wait):
            return _LOOK_SECONDS
        if isinstance(decision, Again):
            return await self._give_up(guard, row)
        if isinstance(decision, Reported):
            return await self._settle(guard, await self._read(decision), decision.last_lines)
        return await self._settle(guard, decision, [])

    async def _read(self, reported: Reported) -> Report | Failed:
        if reported.size_bytes > MAX_REPORT_BYTES:
            words = f"The report on the model has more than {MAX_REPORT_BYTES} bytes."
            return Failed(error("report_invalid", words))
        try:
            pieces = await self._context.objects.open(reported.sha256)
            document = b"".join([piece async for piece in pieces])
        except (ObjectMissing, ObjectCorrupt):
            return Failed(error("report_missing", "The report on the model cannot be read."))
        return await asyncio.to_thread(read_report, document)

    async def _settle(
        self, guard: Guard, found: Report | Decision, last_lines: list[str]
    ) -> float | None:
        """Write down what was found; the node, if there is one, is removed in the next step."""
        reached(CrashPoint.CAPTURE_READ)
        async with self._context.database.session() as session:
            await guard.check(session)
            row = await session.get_one(ModelCapture, guard.lease.row_id)
            version = await session.get_one(
                ModelVersion, row.model_version_id, with_for_update=True, populate_existing=True
            )
            row.ended_at = func.clock_timestamp()
            row.error = None
            if isinstance(found, Report):
                row.runtime = found.runtime
                if found.sample is not None:
                    await repository.add_sample(session, version.id, found.sample)
                else:
                    assert found.error is not None
                    row.error = error(found.error.code, found.error.message, last_lines)
            elif isinstance(found, Failed):
                lines = found.error["last_lines"] or last_lines
                row.error = {**found.error, "last_lines": lines}
            row.state = "Captured" if row.error is None else "Failed"
            _note_signature(version, found, row.error)
        return 0.0

    async def _leave_off(self, guard: Guard) -> None:
        async with self._context.database.session() as session:
            await guard.check(session)
            row = await session.get_one(ModelCapture, guard.lease.row_id)
            await wake(session, ModelVersion, row.model_version_id)
            await session.delete(row)

    async def _give_up(self, guard: Guard, row: ModelCapture) -> float:
        """Remove a node that is lost, and begin anew with another one."""
        if not await self._remove(row):
            return _NOT_YET_SECONDS
        async with self._context.database.session() as session:
            await guard.check(session)
            row = await session.get_one(ModelCapture, guard.lease.row_id)
            row.state, row.node_name, row.result = "Pending", None, None
        return 0.0

    async def _told(self, row: ModelCapture) -> tuple[dict[str, Any], datetime]:
        """What the node has told, and the time; asked after it was seen to live or not.

        A node that is gone by then has told all that it ever will.
        """
        async with self._context.database.session() as session:
            told = select(ModelCapture.result, func.clock_timestamp())
            found = await session.execute(told.where(ModelCapture.id == row.id))
            result, now = found.one()
            return result or {}, now

    async def _replace_image(self, guard: Guard, row: ModelCapture, missing: ImageMissing) -> float:
        """Have an image built again that is gone from the engine and cannot be pulled."""
        async with self._context.database.session() as session:
            await guard.check(session)
            row = await session.get_one(ModelCapture, guard.lease.row_id)
            if row.image_id is not None:
                await environments.replace_lost(session, row.image_id, missing.reference)
            row.node_name = None
        return _IMAGE_SECONDS

    async def _clean(self, guard: Guard, row: ModelCapture) -> float | None:
        if row.node_name is None:
            return None
        if not await self._remove(row):
            return _NOT_YET_SECONDS
        async with self._context.database.session() as session:
            await guard.check(session)
            row = await session.get_one(ModelCapture, guard.lease.row_id)
            row.node_name = row.result = None
            await session.flush()
            if following := await repository.first_waiting(session):
                await wake(session, ModelCapture, following)
        return None

    async def _remove(self, row: ModelCapture) -> bool:
        """Take the node away; says whether nothing of it is left."""
        assert row.node_name is not None
        try:
            await self._context.provider.remove(row.node_name, host=LOCAL)
        except NotYetRemoved:
            return False
        reached(CrashPoint.CAPTURE_REMOVED)
        return True


def _note_signature(
    version: ModelVersion, found: Report | Decision, problem: dict[str, Any] | None
) -> None:
    """Give the version its signature; that of a SavedModel is read from its file."""
    if version.kind == Kind.SAVED_MODEL:
        return
    if isinstance(found, Report) and found.signature is not None:
        version.signature = found.signature.model_dump()
        version.signature_state, version.signature_reason = "Ready", ""
    elif version.signature_state == "Pending":
        version.signature_state = "Unavailable"
        version.signature_reason = str((problem or {}).get("message", ""))
