"""Backfill that never delays the head: what may run before the first gang that cannot start.

The rule is that of EASY (Lifka 1995, "The ANL/IBM SP scheduling system"), for several resources:
the first gang that cannot start gets a reservation at the earliest moment at which enough of what
runs will have ended. Others may start before it if they have certainly ended by then, or use only
what the reservation leaves over.

What runs is expected to end early rather than late, and what is backfilled is taken to need all
the time that it may, so that a wrong expectation delays a backfilled run and not the head.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from math import inf

from app.scheduling.pool import ClusterState, Pool
from app.scheduling.types import Gang, Node, Place, Running, Size

_LAST = 1_000_000
"""Behind the indices of all nodes that exist."""


class Ending:
    """A running run, when it is expected to end, and the nodes that it will give back.

    Nodes on hosts that take no work are given back to nobody: they go.
    """

    __slots__ = ("ends_in_seconds", "going_count", "nodes", "run")

    def __init__(self, run: Running, nodes: list[Node], *, going_count: int) -> None:
        self.run = run
        self.nodes = nodes
        self.going_count = going_count
        self.ends_in_seconds = 0.0 if run.is_stopping else run.ends_in_seconds

    def now(self) -> "Ending":
        """The same, ending at once."""
        stopping = replace(self.run, is_stopping=True)
        return Ending(stopping, self.nodes, going_count=self.going_count)

    def key(self) -> tuple[float, str]:
        """By which they are in order."""
        return self.ends_in_seconds, self.run.run_id


class ClusterReservation:
    """For a gang that its cluster's ``max_nodes`` keeps from starting."""

    def __init__(self, gang: Gang, state: ClusterState, ending: Sequence[Ending]) -> None:
        self.gang = gang
        self.starts_in_seconds = inf
        self.spare_count = 0
        busy = state.busy_count
        most = state.cluster.max_nodes - gang.node_count
        for end in ending:
            if end.run.cluster_id != gang.cluster_id:
                continue
            busy -= len(end.nodes) + end.going_count
            if busy <= most:
                self.starts_in_seconds = end.ends_in_seconds
                self.spare_count = most - busy
                break

    def allows(self, gang: Gang) -> bool:
        """Whether a gang of the same cluster may go first."""
        if gang.at_most_seconds <= self.starts_in_seconds < inf:
            return True
        return gang.node_count <= self.spare_count

    def note(self, gang: Gang) -> None:
        """It went first."""
        if not gang.at_most_seconds <= self.starts_in_seconds < inf:
            self.spare_count -= gang.node_count


class Future:
    """What hosts would have for a gang once some of what runs has ended."""

    def __init__(self, gang: Gang, pool: Pool) -> None:
        self._pool = pool
        self._gang = gang
        state = pool.clusters[gang.cluster_id]
        self._size = state.cluster.node_size
        self._packs = state.cluster.packs
        # Idle nodes of its own cluster that stay for the minimum are its own to use.
        self._missing = gang.node_count - state.kept_count
        self._idle: dict[str, list[Node]] = {}
        self._spare: dict[str, dict[str, Node]] = {}
        self.rooms = pool.rooms_with_spare.copy(self._size)

    def end(self, ending: Ending) -> None:
        """This run has ended: its nodes are free, and go as far as its cluster can spare them."""
        cluster_id = ending.run.cluster_id
        state = self._pool.clusters[cluster_id]
        idle = self._idle.setdefault(cluster_id, list(state.idle.values()))
        before = self._spare.get(cluster_id, state.spare)
        idle += ending.nodes
        after = state.spare_of(idle)
        for node in after.values():
            if node.id not in before:
                self.rooms.give(node.host, node.size)
        for node in before.values():
            if node.id not in after:
                self.rooms.take(node.host, node.size)
        self._spare[cluster_id] = after
        if cluster_id == self._gang.cluster_id:
            self._missing = self._gang.node_count - (len(idle) - len(after))

    @property
    def has_room(self) -> bool:
        """Whether the gang fits now."""
        return self.rooms.count(self._size) >= self._missing

    def spares(self, node: Node) -> bool:
        """Whether an idle node is one of those that then go when their room is needed."""
        state = self._pool.clusters[node.cluster_id]
        return node.id in self._spare.get(node.cluster_id, state.spare)

    def take(self) -> None:
        """Keep the room for it."""
        if self._missing > 0:
            self.rooms.choose(self._size, self._missing, packs=self._packs)


class RoomReservation:
    """For a gang that hosts have no room for now; all that share the hosts respect it."""

    def __init__(self, gang: Gang, pool: Pool, ending: Sequence[Ending]) -> None:
        self.gang = gang
        self.starts_in_seconds = inf
        future = Future(gang, pool)
        for seconds, together in groupby(ending, key=lambda end: end.ends_in_seconds):
            for end in together:
                future.end(end)
            if future.has_room:
                self.starts_in_seconds = seconds
                future.take()
                break
        self._future = future
        self._then = future.rooms
        # What there is now and is left over then: for those that will still run.
        self._both = future.rooms.copy()
        for host, free in pool.rooms.free.items():
            then = self._then.free[host]
            if free is not then:
                self._both.set(host, _smaller(free, then))

    def may_go(self, node: Node) -> bool:
        """Whether it can go now without another one having to stay in this gang's way then.

        A cluster gives up no more nodes than it has beyond its minimum.
        """
        return self._future.spares(node)

    def is_refused(self, gang: Gang, state: ClusterState) -> bool:
        """Whether a gang is known not to fit before this one: room only gets less during a plan."""
        return gang.node_count >= state.refused[self._ends_in_time(gang, state)]

    def choose(self, gang: Gang, pool: Pool) -> tuple[list[Node], list[str]] | None:
        """Idle nodes and hosts with which a gang may go first; None when there are not enough."""
        state = pool.clusters[gang.cluster_id]
        ends_in_time = self._ends_in_time(gang, state)
        if self.starts_in_seconds == inf:
            chosen = None
        elif ends_in_time:
            chosen = self._before(gang, pool)
        else:
            chosen = self._beside(gang, pool)
        if chosen is None:
            state.refused[ends_in_time] = gang.node_count
        return chosen

    def _ends_in_time(self, gang: Gang, state: ClusterState) -> bool:
        # Nodes of a minimum stay when their run has ended.
        makes_minimum = state.cluster.min_nodes > state.node_count
        return gang.at_most_seconds <= self.starts_in_seconds and not makes_minimum

    def _before(self, gang: Gang, pool: Pool) -> tuple[list[Node], list[str]] | None:
        state = pool.clusters[gang.cluster_id]
        idle = list(state.idle.values())[: gang.node_count]
        missing = gang.node_count - len(idle)
        size, packs = state.cluster.node_size, state.cluster.packs
        hosts = pool.rooms.choose(size, missing, packs=packs) if missing else []
        if hosts is None:
            return None
        self._follow(pool, hosts)
        return idle, hosts

    def _beside(self, gang: Gang, pool: Pool) -> tuple[list[Node], list[str]] | None:
        # Only with what is left over at the moment that is reserved.
        state = pool.clusters[gang.cluster_id]
        size = state.cluster.node_size
        if len(state.idle) + self._both.count(size) < gang.node_count:
            return None
        is_own = gang.cluster_id == self.gang.cluster_id
        together = state.busy_count + gang.node_count + self.gang.node_count
        if is_own and together > state.cluster.max_nodes:
            return None
        idle = self._idle_left_over(state, gang.node_count, may_use_kept=not is_own)
        # What idle nodes hold then is not left over a second time.
        self._follow(pool, [node.host for node in idle])
        missing = gang.node_count - len(idle)
        hosts = self._both.choose(size, missing, packs=state.cluster.packs) if missing else []
        if hosts is None:
            for node in idle:
                if node.id in state.spare:
                    self._then.give(node.host, node.size)
            self._follow(pool, [node.host for node in idle])
            return None
        for host in hosts:
            real = pool.rooms.size_on(host, size)
            pool.rooms.take(host, real)
            self._then.take(host, real)
        return idle, hosts

    def _idle_left_over(self, state: ClusterState, count: int, *, may_use_kept: bool) -> list[Node]:
        chosen: list[Node] = []
        for node in state.idle.values():
            if len(chosen) == count:
                break
            if node.id in state.spare:
                free = self._then.free[node.host]
                if any(have < need for have, need in zip(free, node.size, strict=True)):
                    continue
                self._then.take(node.host, node.size)
            elif not may_use_kept:
                continue
            chosen.append(node)
        return chosen

    def _follow(self, pool: Pool, hosts: Sequence[str]) -> None:
        for host in set(hosts):
            self._both.set(host, _smaller(pool.rooms.free[host], self._then.free[host]))


def fits_ever(gang: Gang, pool: Pool, ending: Iterable[Ending]) -> bool:
    """Whether hosts as they are have room for a gang once all that runs has ended.

    Otherwise it waits for something else: a host that takes work again, a node of a minimum.

    Args:
        gang: that waits.
        pool: as it is now.
        ending: all that runs, also what nobody expects to end.
    """
    future = Future(gang, pool)
    by_cluster: dict[str, list[Ending]] = {}
    for end in ending:
        by_cluster.setdefault(end.run.cluster_id, []).append(end)
    for together in by_cluster.values():
        nodes = [node for end in together for node in end.nodes]
        future.end(Ending(together[0].run, nodes, going_count=0))
    return future.has_room


def endings(pool: Pool, running: Sequence[Running], nodes: Sequence[Node]) -> list[Ending]:
    """What runs, in the order in which it is expected to end; last what nobody expects to end.

    Args:
        pool: as it is now.
        running: all runs that have nodes.
        nodes: all nodes.
    """
    of_run: dict[str, list[Node]] = {}
    for node in nodes:
        if node.run_id:
            of_run.setdefault(node.run_id, []).append(node)
    found = []
    for run in running:
        mine = of_run.get(run.run_id, [])
        stay = [node for node in mine if node.is_usable and node.host in pool.rooms.free]
        found.append(Ending(run, stay, going_count=len(mine) - len(stay)))
    return sorted(found, key=Ending.key)


def ending_of(gang: Gang, idle: Sequence[Node], new: Sequence[Place]) -> Ending:
    """The end of a gang that the plan at hand has placed: at its limit, or at any moment.

    Args:
        gang: that was placed.
        idle: nodes that it was given.
        new: nodes that are made for it.
    """
    made = [
        Node(f"{gang.run_id}/{number}", place.cluster_id, place.host, _LAST + number, place.size)
        for number, place in enumerate(new)
    ]
    ends = gang.at_most_seconds if gang.at_most_seconds < inf else 0.0
    run = Running(gang.run_id, gang.cluster_id, gang.user_id, ends_in_seconds=ends)
    return Ending(run, [*idle, *made], going_count=0)


def _smaller(first: Size, second: Size) -> Size:
    return Size(
        min(first.cores, second.cores),
        min(first.memory_bytes, second.memory_bytes),
        min(first.gpus, second.gpus),
    )
