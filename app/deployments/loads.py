"""What routers have under way, as they note it in the database for whoever scales."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.db import Database
from app.kernel.ids import new_id
from app.kernel.wake import wake
from app.tables.deployment import Deployment, DeploymentLoad

_NOTE_SECONDS = 1.0
_FRESH_SECONDS = 5.0
"""What a router noted longer ago is over, or the router is."""
_KEPT_SECONDS = 60.0
_log = structlog.get_logger(__name__)


async def concurrency(session: AsyncSession, deployment_id: str) -> float:
    """Requests of a deployment under way at a time now, at all routers together."""
    is_fresh = DeploymentLoad.noted_at > func.clock_timestamp() - timedelta(seconds=_FRESH_SECONDS)
    statement = select(func.coalesce(func.sum(DeploymentLoad.concurrency), 0.0)).where(
        DeploymentLoad.deployment_id == deployment_id, is_fresh
    )
    return float((await session.execute(statement)).scalar_one())


async def forget_old(session: AsyncSession, deployment_id: str) -> None:
    """Delete what routers noted that have noted nothing since: each start of one is another."""
    is_old = DeploymentLoad.noted_at < func.clock_timestamp() - timedelta(seconds=_KEPT_SECONDS)
    old = (
        select(DeploymentLoad.router_id)
        .where(DeploymentLoad.deployment_id == deployment_id, is_old)
        .with_for_update(skip_locked=True)
    )
    await session.execute(
        delete(DeploymentLoad).where(
            DeploymentLoad.deployment_id == deployment_id, DeploymentLoad.router_id.in_(old)
        )
    )


class LoadKeeper:
    """Counts what this process has under way, and notes it while there is something."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._router_id = new_id("rtr")
        self._under_way: dict[str, _Count] = {}

    @contextmanager
    def counts(self, deployment_id: str) -> Iterator[None]:
        """Count a request of this deployment as under way for the block."""
        count = self._under_way.setdefault(deployment_id, _Count())
        count.change(1)
        try:
            yield
        finally:
            count.change(-1)

    async def note_forever(self) -> None:
        """Note the loads every second."""
        while True:
            await asyncio.sleep(_NOTE_SECONDS)
            try:
                await self.note()
            except SQLAlchemyError as error:
                _log.warning("load_not_noted", error=str(error).splitlines()[0])

    async def note(self) -> None:
        """Note the loads of deployments that were asked since the last time."""
        averages = {key: count.take_average() for key, count in self._under_way.items()}
        for key in [key for key, count in self._under_way.items() if count.is_over]:
            del self._under_way[key]
        if not averages:
            return
        async with self._database.session() as session:
            elastic = select(Deployment.id).where(
                Deployment.id.in_(averages), Deployment.autoscale.is_not(None)
            )
            for deployment_id in sorted((await session.scalars(elastic)).all()):
                made = insert(DeploymentLoad).values(
                    deployment_id=deployment_id,
                    router_id=self._router_id,
                    concurrency=averages[deployment_id],
                    noted_at=func.clock_timestamp(),
                )
                await session.execute(
                    made.on_conflict_do_update(
                        index_elements=["deployment_id", "router_id"],
                        set_={
                            "concurrency": made.excluded.concurrency,
                            "noted_at": made.excluded.noted_at,
                        },
                    )
                )
                await wake(session, Deployment, deployment_id)


class _Count:
    """Requests under way, and their average over time."""

    def __init__(self) -> None:
        self._now = 0
        self._area = 0.0
        self._since = self._at = time.monotonic()

    @property
    def is_over(self) -> bool:
        return self._now == 0

    def change(self, by: int) -> None:
        self._sum_up()
        self._now += by

    def take_average(self) -> float:
        self._sum_up()
        seconds = self._at - self._since
        average = self._area / seconds if seconds > 0 else float(self._now)
        self._area, self._since = 0.0, self._at
        return average

    def _sum_up(self) -> None:
        moment = time.monotonic()
        self._area += self._now * (moment - self._at)
        self._at = moment
