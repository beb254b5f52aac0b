"""Ends a batch scoring when its run has ended: makes the dataset version of what was predicted."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, cast

from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import Table

from app.batch_scorings import repository, service
from app.batch_scorings.program import COUNTS
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.db import Database
from app.kernel.orm import MAX_INTEGER
from app.runs.states import TERMINAL
from app.storage.errors import ObjectCorrupt, ObjectMissing
from app.storage.objects import ObjectStore
from app.tables.batch_scoring import BatchScoring
from app.tables.run import Run, RunFile
from workers.failing import failing, is_failing
from workers.reconciler import Guard

_LOOK_SECONDS = 2.0
_COUNTS = TypeAdapter(dict[str, Annotated[int, Field(strict=True, ge=0, le=MAX_INTEGER // 1000)]])
_COUNTS_BYTES = 1024


class BatchScoringReconciler:
    """One step: look at the run; when it is over, end the batch scoring in one transaction."""

    table = cast("Table", BatchScoring.__table__)

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects

    async def reconcile(self, guard: Guard) -> float | None:
        """End it if its run is over; says when to look again."""
        async with self._database.session() as session:
            row = await session.get_one(BatchScoring, guard.lease.row_id)
            if row.status in service.OVER:
                return None
            run = None if row.run_id is None else await session.get(Run, row.run_id)
            files: Sequence[RunFile] = []
            if run is not None and run.deleted_at is None:
                if run.status not in TERMINAL:
                    if is_failing(row.error):
                        await self._say(guard, None)
                    return _LOOK_SECONDS
                files = await repository.outputs(session, run.id, COUNTS)
        counts = await self._added_up(files)
        reached(CrashPoint.SCORING_COUNTED)
        async with self._database.session() as session:
            await guard.check(session)
            row = await repository.lock(session, guard.lease.row_id)
            run = None if row.run_id is None else await session.get(Run, row.run_id)
            row.error = None
            await service.finish(session, row, run, counts)
            await session.flush()
            reached(CrashPoint.SCORING_ENDING)
        return None

    async def say_failed(self, guard: Guard, error: str) -> None:
        """Let the batch scoring say that looks at it fail, as long as it has not ended."""
        await self._say(guard, failing("the batch scoring", error))

    async def _say(self, guard: Guard, error: dict[str, str] | None) -> None:
        async with self._database.session() as session:
            await guard.check(session)
            row = await repository.lock(session, guard.lease.row_id)
            if row.status not in service.OVER:
                row.error = error

    async def _added_up(self, files: Sequence[RunFile]) -> dict[str, int] | None:
        """The rows that all shards counted; None: a file has no counts, or is lost.

        The program that wrote these files ran the user's model, which may write what it likes.
        """
        total: Counter[str] = Counter()
        for file in files:
            if file.size_bytes > _COUNTS_BYTES:
                return None
            try:
                pieces = await self._objects.open(file.sha256)
                counts = _COUNTS.validate_json(b"".join([piece async for piece in pieces]))
            except (ValidationError, ObjectMissing, ObjectCorrupt):
                return None
            total.update(counts)
        return total
