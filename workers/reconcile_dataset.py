"""Works off dataset registrations: fetches the files, then makes a version of them."""

import functools
from collections import Counter
from typing import cast

import structlog
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncSession

from app.datasets import service
from app.datasets.checks import in_parallel
from app.datasets.errors import SourceError
from app.datasets.fetch import fetch_into, policy_from
from app.datasets.fetched import FetchedFile
from app.datasets.finding import find_files
from app.datasets.layout import PlacedSource
from app.datasets.source import FetchPolicy
from app.datasets.stored import url_of, with_datastores
from app.datasets.threads import in_fetch_thread
from app.kernel.config import Settings
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.db import Database
from app.storage.errors import StoreUnavailable
from app.storage.objects import ObjectStore
from app.tables.dataset import DatasetRegistration
from workers.reconciler import Guard

_MOST_FAILED_LOOKS = 8
"""After so many that ended with something unforeseen a registration has failed: minutes."""
_STORE_SECONDS = 10.0
_log = structlog.get_logger(__name__)


class DatasetReconciler:
    """Moves registrations from Pending to Succeeded or Failed."""

    table = cast(Table, DatasetRegistration.__table__)

    def __init__(self, database: Database, objects: ObjectStore, settings: Settings) -> None:
        self._database = database
        self._objects = objects
        self._policy: FetchPolicy = policy_from(settings)
        self._failed_looks: Counter[str] = Counter()

    async def reconcile(self, guard: Guard) -> float | None:
        """Fetch the files of one registration and make a version of them."""
        check_in = await self._look(guard)
        del self._failed_looks[guard.lease.row_id]
        return check_in

    async def say_failed(self, guard: Guard, error: str) -> None:
        """Let the registration fail when look after look fails: each fetches everything again."""
        row_id = guard.lease.row_id
        self._failed_looks[row_id] += 1
        # The first one of all is not told.
        if self._failed_looks[row_id] < _MOST_FAILED_LOOKS - 1:
            return
        words = f"{_MOST_FAILED_LOOKS} attempts ended with {error}; the worker's log says more"
        await self._apply(guard, SourceError(words, url=""))
        _log.warning("dataset_registration_given_up", error=error)
        del self._failed_looks[row_id]

    async def give_up(self, guard: Guard, turns: int) -> bool:
        """Let the registration fail that ends worker after worker."""
        words = f"work on it ended the worker that did it {turns} times in a row"
        return await self._apply(guard, SourceError(words, url=""))

    async def _look(self, guard: Guard) -> float | None:
        async with self._database.session() as session:
            row = await self._load(session, guard)
            if row is None:
                return None
            named = [url_of(name, "")] if (name := row.request.get("datastore")) else []
            policy = await with_datastores(session, row.workspace_id, named, self._policy)
        fetch = functools.partial(self._fetch, policy=policy)
        try:
            sources = service.placed_sources(row)
            if name:
                find = functools.partial(find_files, name, row.request["patterns"], policy)
                sources = await in_fetch_thread(find)
            files = await in_parallel(fetch, sources)
        except SourceError as error:
            _log.info("dataset_registration_failed", code=error.code, url=error.url)
            await self._apply(guard, error)
            return None
        except StoreUnavailable as error:
            _log.warning("object_store_unavailable", error=str(error))
            return _STORE_SECONDS
        reached(CrashPoint.DATASET_FETCHED)
        await self._apply(guard, list(zip(sources, files, strict=True)))
        return None

    async def _fetch(self, source: PlacedSource, *, policy: FetchPolicy) -> FetchedFile:
        fetch = functools.partial(fetch_into, self._objects, source.url, policy=policy)
        return await in_fetch_thread(fetch)

    async def _apply(
        self, guard: Guard, outcome: SourceError | list[tuple[PlacedSource, FetchedFile]]
    ) -> bool:
        """Write what came of it; False: it is over already."""
        async with self._database.session() as session:
            await guard.check(session)
            row = await self._load(session, guard)
            if row is None:
                return False
            if isinstance(outcome, SourceError):
                service.fail(session, row, outcome)
            else:
                await service.succeed(session, row, outcome)
        return True

    async def _load(self, session: AsyncSession, guard: Guard) -> DatasetRegistration | None:
        row = await session.get(DatasetRegistration, guard.lease.row_id)
        return row if row is not None and row.state == "Pending" else None
