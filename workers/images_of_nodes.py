"""The image of a run's nodes at the moment that they start: there, or built again."""

from typing import Any

import structlog

from app.environments import service as environments
from app.environments.states import ImageState
from app.providers.base import ImageMissing
from app.runs import finalizing
from app.runs.blockers import blocker
from app.runs.decide import Outcome
from app.runs.states import BlockerCode, Status
from app.runs.transitions import lock_run
from app.runs.waiting import set_blockers
from app.tables.image import Image
from app.tables.run import Run
from workers.context import WorkerContext
from workers.reconciler import Guard

_LOOK_SECONDS = 0.5
_log = structlog.get_logger(__name__)


class ImagesOfNodes:
    """Sees to it that an attempt's nodes have an image to be made of."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._database = context.database

    async def await_ready(self, guard: Guard, run: Run) -> float | None:
        """None when the image is ready; else when to look again, the run told what it waits for."""
        async with self._database.session() as session:
            image = await session.get(Image, run.image_id) if run.image_id else None
        if image is None:
            return None
        if image.state == ImageState.FAILED:
            return await self._fail(guard, run, image)
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            if image.state == ImageState.READY:
                run.image_reference = image.reference
                return None
            found = blocker(BlockerCode.IMAGE_BUILDING, f"image {image.id}", "the build has ended")
            set_blockers(session, run, [found])
        return _LOOK_SECONDS

    async def replace(self, guard: Guard, run: Run, missing: ImageMissing) -> float:
        """Have an image built again that is gone from the engine and cannot be pulled."""
        _log.warning("image_missing", run_id=run.id, image=run.image_id, error=str(missing))
        async with self._database.session() as session:
            await guard.check(session)
            await environments.replace_lost(session, str(run.image_id), missing.reference)
        return 0.0

    async def _fail(self, guard: Guard, run: Run, image: Image) -> float:
        error: dict[str, Any] = {**(image.error or {}), "code": "image_build_failed"}
        error |= {"image": image.id}
        error.setdefault("message", "The environment could not be built again.")
        await finalizing.publish_and_end(
            self._database,
            self._context.objects,
            guard.check,
            run_id=run.id,
            end=Outcome(Status.FAILED, error),
        )
        return 0.0
