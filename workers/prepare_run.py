"""The Preparing phase: data at hand, environment built, then the queue."""

from typing import Any

import structlog

from app.datasets.checks import ensure_available
from app.datasets.errors import DatasetDrift, DatasetSourceLost, DatasetUnreachable
from app.datasets.fetch import policy_from
from app.environments import repository as images
from app.environments import service as environments
from app.environments.spec import EnvironmentSpec
from app.environments.states import ImageState
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.errors import DomainError
from app.planning.service import wake_planner
from app.runs import finalizing
from app.runs.blockers import at_first, blocker
from app.runs.decide import Outcome
from app.runs.states import BlockerCode, Status
from app.runs.transitions import add_event, lock_run, transition
from app.runs.waiting import set_blockers
from app.tables.image import Image
from app.tables.run import Run
from app.tables.workspace import Workspace
from workers.build_log_copies import BuildLogCopies
from workers.context import WorkerContext
from workers.failing import is_failing
from workers.reconciler import Guard

_BUILD_LOOK_SECONDS = 0.5
_DATA_RETRY_SECONDS = 5.0
_ACTOR = "worker"
_log = structlog.get_logger(__name__)


class Preparation:
    """Prepares runs."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._database = context.database
        self._build_logs = BuildLogCopies(context.database, context.objects)

    async def prepare(self, guard: Guard, run: Run) -> float | None:
        """Check the data, follow the build, and queue the run when both are ready."""
        if not run.data_checked:
            pause = await self._check_data(guard, run)
            if pause is not None:
                return pause
        async with self._database.session() as session:
            image = await session.get_one(Image, run.image_id)
        if image.state == ImageState.RESOLVED:
            return await self._follow_resolution(guard, run, image)
        await self._build_logs.copy(guard, run, image)
        if image.state == "Failed":
            await self._note_failed_image(guard, run, image)
            return await self._fail(guard, run, self._image_error(image))
        if image.state == "Deleted":
            try:
                await self._ask_for_image(guard, run)
            except DomainError as error:
                # What was allowed, or could be had, when the run was submitted.
                failure = {"code": "image_build_failed", "message": error.detail}
                return await self._fail(guard, run, failure)
        if image.state != "Ready":
            return await self._await_image(guard, run, image)
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            if run.status != Status.PREPARING:
                return 0.0
            await images.touch(session, image.id)
            run.image_reference = image.reference
            transition(session, run, Status.QUEUED, actor=_ACTOR)
            await session.flush()
            await wake_planner(session)
        return None

    async def _check_data(self, guard: Guard, run: Run) -> float | None:
        warnings: list[dict[str, Any]] = []
        policy = policy_from(self._context.settings)
        try:
            for value in run.request["inputs"].values():
                warnings += await ensure_available(
                    self._database,
                    self._context.objects,
                    version_id=value["version_id"],
                    policy=policy,
                )
        except (DatasetDrift, DatasetSourceLost) as error:
            failure = {"code": error.code, "message": error.detail}
            return await self._fail(guard, run, failure)
        except DatasetUnreachable as error:
            async with self._database.session() as session:
                await guard.check(session)
                run = await lock_run(session, run.id)
                found = blocker(
                    BlockerCode.DATA_UNREACHABLE, "inputs",
                    "the source answers again", detail=error.detail,
                )  # fmt: skip
                set_blockers(session, run, [found])
            return _DATA_RETRY_SECONDS
        reached(CrashPoint.DATA_CHECKED)
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            run.data_checked = True
            run.blockers = at_first(Status.PREPARING)
            run.warnings = [*run.warnings, *warnings]
            if run.request["inputs"]:
                add_event(
                    session, run, kind="data_ready", actor=_ACTOR, data={"warnings": warnings}
                )
        return None

    async def _await_image(self, guard: Guard, run: Run, image: Image) -> float:
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            if run.status == Status.PREPARING:
                more = {"detail": image.error["message"]} if is_failing(image.error) else {}
                found = blocker(
                    BlockerCode.IMAGE_BUILDING, f"image {image.id}", "the build has ended", **more
                )
                set_blockers(session, run, [found])
        return _BUILD_LOOK_SECONDS

    async def _note_failed_image(self, guard: Guard, run: Run, image: Image) -> None:
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            if run.status == Status.PREPARING:
                clears = "a new run has an environment that can be built"
                found = blocker(BlockerCode.IMAGE_FAILED, f"image {image.id}", clears)
                set_blockers(session, run, [found])

    async def _ask_for_image(self, guard: Guard, run: Run) -> None:
        """Have the image built again: it was collected between submission and now."""
        spec = EnvironmentSpec.model_validate(run.request["environment"])
        async with self._database.session() as session:
            await guard.check(session)
            workspace = await session.get_one(Workspace, run.workspace_id)
            run = await lock_run(session, run.id)
            found, _ = await environments.ensure_image(
                session, self._context.settings, workspace, spec
            )
            run.image_id = found.id

    async def _follow_resolution(self, guard: Guard, run: Run, image: Image) -> float:
        """The base's tag has been looked up: the image with its digest is the run's."""
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            run.image_id = image.resolved_to
        return 0.0

    async def _fail(self, guard: Guard, run: Run, error: dict[str, Any]) -> float:
        await finalizing.publish_and_end(
            self._database,
            self._context.objects,
            guard.check,
            run_id=run.id,
            end=Outcome(Status.FAILED, error),
        )
        _log.info("run_failed_in_preparation", code=error["code"])
        return 0.0

    def _image_error(self, image: Image) -> dict[str, Any]:
        error = image.error or {}
        message = str(error.get("message", "The environment could not be built."))
        return {**error, "code": "image_build_failed", "message": message, "image": image.id}
