"""Ends a batch scoring when its run has ended: makes the dataset version of what was predicted."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import cast

from sqlalchemy import Table

from app.batch_scorings import repository, service
from app.batch_scorings.program import COUNTS
from app.kernel.db import Database
from app.runs.states import TERMINAL
from app.storage.objects import ObjectStore
from app.tables.batch_scoring import BatchScoring
from app.tables.run import Run, RunFile
from workers.reconciler import Guard

_LOOK_SECONDS = 2.0


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
                    return _LOOK_SECONDS
                files = await repository.outputs(session, run.id, COUNTS)
        counts = await self._added_up([file.sha256 for file in files])
        async with self._database.session() as session:
            await guard.check(session)
            row = await repository.lock(session, guard.lease.row_id)
            run = None if row.run_id is None else await session.get(Run, row.run_id)
            await service.finish(session, row, run, counts)
        return None

    async def _added_up(self, digests: Sequence[str]) -> dict[str, int]:
        """The rows that all shards counted; a program of ours wrote these files."""
        total: Counter[str] = Counter()
        for digest in digests:
            pieces = await self._objects.open(digest)
            total.update(json.loads(b"".join([piece async for piece in pieces])))
        return total
