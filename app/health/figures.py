"""Figures of the whole installation for Prometheus: every API process tells the same ones."""

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio.to_thread
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncSession

from app.health import repository
from app.kernel.db import Database

_SUM_AGAIN_SECONDS = 300.0


class Told(Collector):
    """Figures that were asked for already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """The figures."""
        yield from self._families


class Figures:
    """Asks the rows, and the disk.

    Args:
        database: where the rows are.
        data_dir: whose disk is looked at.
    """

    def __init__(self, database: Database, data_dir: Path) -> None:
        self._database = database
        self._data_dir = data_dir
        self._object_bytes: tuple[float, int] | None = None

    async def ask(self) -> Told:
        """The figures of this moment; the sum of all objects may be some minutes old."""
        disk = await anyio.to_thread.run_sync(shutil.disk_usage, self._data_dir)
        async with self._database.session() as session:
            families = [
                _counts(
                    "trainwright_runs",
                    "Runs by state",
                    "status",
                    await repository.runs_by_status(session),
                ),
                _queues(await repository.queue_ages(session)),
                _counts(
                    "trainwright_reconcile_lag_seconds",
                    "For how long the longest overdue row of a table has been due, and no worker "
                    "at it",
                    "table",
                    await repository.reconcile_lag_seconds(session),
                ),
                _counts(
                    "trainwright_rows_set_aside",
                    "Rows on which turns ended worker after worker; they are looked at ever more "
                    "seldom",
                    "table",
                    await repository.set_aside(session),
                ),
                _counts(
                    "trainwright_images",
                    "Environments by state",
                    "state",
                    await repository.images_by_state(session),
                ),
                _counts(
                    "trainwright_leaks",
                    "Nodes, networks and volumes at the provider that nobody owns, as last seen",
                    "kind",
                    await repository.leaks_by_kind(session),
                ),
                _counts(
                    "trainwright_oldest_heartbeat_seconds",
                    "How long ago the node that is silent longest was last heard of, by what it "
                    "works for: run or replica",
                    "kind",
                    await repository.heartbeat_ages_seconds(session),
                ),
                _one(
                    "trainwright_object_store_bytes",
                    "Bytes that workspaces have in the object store, each object counted once",
                    await self._summed(session),
                ),
            ]
        families += [
            _one("trainwright_disk_free_bytes", "Room on the data folder's disk", disk.free),
            _one("trainwright_disk_size_bytes", "Size of the data folder's disk", disk.total),
        ]
        return Told(families)

    async def _summed(self, session: AsyncSession) -> int:
        # Of millions of objects the sum takes seconds.
        now = time.monotonic()
        if self._object_bytes is None or now - self._object_bytes[0] > _SUM_AGAIN_SECONDS:
            self._object_bytes = (now, await repository.object_bytes(session))
        return self._object_bytes[1]


def _counts(
    name: str, words: str, label: str, found: Sequence[tuple[str, float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=[label])
    for value, count in found:
        family.add_metric([value], count)
    return family


def _queues(ages: Sequence[repository.QueueAge]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "trainwright_queue_oldest_seconds",
        "Since when the run that has waited longest waits for nodes of a cluster; without names: "
        f"of any cluster but the {repository.MOST_QUEUES} with the oldest",
        labels=["workspace", "cluster"],
    )
    for age in ages:
        family.add_metric([age.workspace, age.cluster], age.seconds)
    return family


def _one(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=value)
