"""How far a process uses its pools of database connections, for Prometheus."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.kernel.db import PoolUse


class PoolFigures(Collector):
    """Asks when it is asked.

    Args:
        use: tells what the pools hold.
    """

    def __init__(self, use: Callable[[], list[PoolUse]]) -> None:
        self._use = use

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The figures of this moment."""
        connections = GaugeMetricFamily(
            "trainwright_database_connections",
            "Open connections to the database, by pool (sessions or direct) and state",
            labels=["pool", "state"],
        )
        limits = GaugeMetricFamily(
            "trainwright_database_connections_limit",
            "So many connections of a pool may be open",
            labels=["pool"],
        )
        for pool in self._use():
            connections.add_metric([pool.pool, "in_use"], pool.in_use)
            connections.add_metric([pool.pool, "idle"], pool.idle)
            limits.add_metric([pool.pool], pool.limit)
        yield connections
        yield limits
