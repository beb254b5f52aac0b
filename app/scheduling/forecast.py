"""When those who wait may start: an interval, from how long runs take.

Both ends come from the same rule: nobody overtakes, and whoever has nodes gives them back after so
long. The early end lets everything take its shortest time and looks at the run's own cluster
alone; the late end lets everything take its longest time and everybody who is earlier anywhere go
first. Backfill and preemption may be better, and what is submitted later with a higher priority
worse, than either.
"""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple

from app.scheduling.collecting import without_collections
from app.scheduling.rooms import Holding
from app.scheduling.types import Reason, Snapshot, Waiting

MOST = 1000
"""So many of those who wait are looked at, the first ones."""
_ROUNDING = 1e-9
_NEVER_BY_ITSELF = frozenset(
    {Reason.CLUSTER_DISABLED, Reason.LARGER_THAN_CLUSTER, Reason.LARGER_THAN_HOSTS}
)
_NOT_IN_THE_WAY = frozenset({Reason.QUOTA, Reason.BUDGET})


class Lasts(NamedTuple):
    """How long something takes, or goes on: two bounds in seconds, infinite when unknown."""

    shortest: float = 0.0
    longest: float = inf


class _Ending(NamedTuple):
    seconds: float
    cluster_id: str
    node_count: int
    share: float


def forecast(
    snapshot: Snapshot, waiting: Sequence[Waiting], lasts: Mapping[str, Lasts]
) -> dict[str, Lasts]:
    """In how many seconds waiting gangs start: from, and to; infinite when nobody knows.

    Those that nothing but a change by somebody will let start are absent.

    Args:
        snapshot: what was planned.
        waiting: who was not placed, in the order of the queue; the first `MOST` are looked at.
        lasts: how long running runs still go on, and how long waiting ones will take.
    """
    with without_collections():
        return _forecast(snapshot, waiting, lasts)


def _forecast(
    snapshot: Snapshot, waiting: Sequence[Waiting], lasts: Mapping[str, Lasts]
) -> dict[str, Lasts]:
    looked_at = [item for item in waiting[:MOST] if item.reason not in _NEVER_BY_ITSELF]
    run_ids = {item.run_id for item in looked_at}
    counts = {gang.run_id: gang.node_count for gang in snapshot.queue if gang.run_id in run_ids}
    world = _World(snapshot, lasts)
    early: dict[str, _Clock] = {}
    late = _Clock(world, world.endings(late=True))
    first = _Clock(world, world.endings(late=False))
    found = {}
    for item in looked_at:
        own = early.get(item.cluster_id)
        if own is None:
            own = early[item.cluster_id] = first.copy()
        count = counts[item.run_id]
        takes = lasts.get(item.run_id, Lasts())
        if item.reason in _NOT_IN_THE_WAY:
            # Nobody waits behind it, and when its quota has room nobody knows.
            found[item.run_id] = Lasts(own.now, inf)
            continue
        shortest = own.start(item.cluster_id, count, takes.shortest)
        if item.reason is Reason.BEHIND_RUN:
            longest = late.start(item.cluster_id, count, takes.longest)
        elif item.starts_in_seconds == inf:
            # Nothing that is known to end makes room for it; nobody behind waits for it.
            longest = inf
        else:
            # The plan knows what the clocks do not: on which host there is room.
            late.wait_until(item.starts_in_seconds)
            longest = late.start(item.cluster_id, count, takes.longest)
        found[item.run_id] = Lasts(shortest, longest)
    return found


class _World:
    """What does not change while time goes by."""

    def __init__(self, snapshot: Snapshot, lasts: Mapping[str, Lasts]) -> None:
        self._lasts = lasts
        self.max_nodes = {cluster.id: cluster.max_nodes for cluster in snapshot.clusters}
        holding = Holding([host for host in snapshot.hosts if host.takes_work])
        # The part of all hosts together that a node of a cluster takes.
        self.share = {
            cluster.id: 1 / max(1, holding.count(cluster.node_size))
            for cluster in snapshot.clusters
        }

        self._counts = Counter((n.run_id, n.cluster_id) for n in snapshot.nodes if n.run_id)

    def endings(self, *, late: bool) -> list[_Ending]:
        """Who gives back how many nodes, and when, the first ones first."""
        unknown = Lasts()
        found = []
        for (run_id, cluster_id), count in self._counts.items():
            goes_on = self._lasts.get(run_id, unknown)
            seconds = goes_on.longest if late else goes_on.shortest
            found.append(_Ending(seconds, cluster_id, count, count * self.share[cluster_id]))
        return sorted(found)


class _Clock:
    """Time going by for those of a queue, one after the other."""

    def __init__(self, world: _World, endings: Sequence[_Ending]) -> None:
        self._world = world
        self._endings = endings
        self._following = 0
        self._placed: list[_Ending] = []
        self._used = sum(ending.share for ending in endings)
        self._busy: dict[str, int] = {}
        for ending in endings:
            self._busy[ending.cluster_id] = self._busy.get(ending.cluster_id, 0) + ending.node_count
        self.now = 0.0

    def copy(self) -> "_Clock":
        """The same moment, for another queue."""
        twin = _Clock(self._world, ())
        twin._endings, twin._following = self._endings, self._following
        twin._placed, twin._busy = list(self._placed), dict(self._busy)
        twin._used, twin.now = self._used, self.now
        return twin

    def wait_until(self, seconds: float) -> None:
        """Nothing starts before that moment."""
        self.now = max(self.now, seconds)

    def start(self, cluster_id: str, count: int, takes: float) -> float:
        """When so many nodes of a cluster are free, which the gang then has for so long."""
        share = count * self._world.share[cluster_id]
        while not self._fits(cluster_id, count, share):
            if self.now == inf:
                return inf
            self._advance()
        self._busy[cluster_id] = self._busy.get(cluster_id, 0) + count
        self._used += share
        heapq.heappush(self._placed, _Ending(self.now + takes, cluster_id, count, share))
        return self.now

    def _fits(self, cluster_id: str, count: int, share: float) -> bool:
        busy = self._busy.get(cluster_id, 0)
        is_within = busy + count <= self._world.max_nodes[cluster_id]
        return is_within and (self._used + share <= 1 + _ROUNDING or self._used < _ROUNDING)

    def _advance(self) -> None:
        left = self._following < len(self._endings)
        if left and (not self._placed or self._endings[self._following] <= self._placed[0]):
            ending = self._endings[self._following]
            self._following += 1
        elif self._placed:
            ending = heapq.heappop(self._placed)
        else:
            self.now = inf
            return
        self.now = max(self.now, ending.seconds)
        self._busy[ending.cluster_id] -= ending.node_count
        self._used -= ending.share
