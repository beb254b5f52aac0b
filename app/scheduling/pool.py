"""The pool while a plan is made: nodes, rooms and clusters, changing with each decision."""

from collections import Counter
from collections.abc import Collection, Iterable
from math import isclose
from typing import NamedTuple

from app.scheduling.rooms import Holding, NodeSizes, Rooms
from app.scheduling.types import Cluster, Gang, Host, Node, Place, Placement, Size, Snapshot


class Behind(NamedTuple):
    """Which gangs of a cluster are known to wait behind a run.

    Attributes:
        run_id: the run.
        to: only those of at most so many nodes.
        of_all_from: of them, those of at least so many nodes.
        of_longer_from: the same of those that may take longer than ``longer_seconds``.
        longer_seconds: after so long nodes are kept for the run.
    """

    run_id: str
    to: int
    of_all_from: int
    of_longer_from: int
    longer_seconds: float


NOBODY_BEHIND = Behind("", 0, 0, 0, 0.0)


class ClusterState:
    """A cluster while a plan is made."""

    def __init__(
        self, cluster: Cluster, nodes: list[Node], *, leaving_count: int, closed: Collection[str]
    ) -> None:
        self.cluster = cluster
        # Busy nodes that are of no more use, or on hosts that take no work: they go with their
        # run, whatever the minimum.
        self._leaving_count = leaving_count
        self.node_count = len(nodes)
        # Where nothing could be started lately, the next run had better not begin.
        idle = sorted(
            (node for node in nodes if not node.run_id),
            key=lambda node: (node.host in closed, node.index),
        )
        self.busy_count = len(nodes) - len(idle)
        self.idle: dict[str, Node] = {node.id: node for node in idle}
        self.spare = self.spare_of(idle)
        self.waiting_node_count = 0
        # More nodes no gang can ever have here as things are: all hosts together have room for so
        # many when nothing else runs.
        self.holds_at_most = 0
        # Who waits without a second look.
        self.behind = NOBODY_BEHIND
        # From so many nodes on hosts have been seen to have no room for a gang.
        self.fits_no_more = cluster.max_nodes + 1
        # The same if all that runs had ended.
        self.fits_never = cluster.max_nodes + 1
        # The same while a gang has a reservation on the hosts: of those that are to run beside it,
        # and of those that will have ended by then.
        self.refused = [cluster.max_nodes + 1, cluster.max_nodes + 1]

    @property
    def kept_count(self) -> int:
        """Idle nodes that stay whoever needs their room."""
        return len(self.idle) - len(self.spare)

    def spare_of(self, idle: Iterable[Node]) -> dict[str, Node]:
        """Which of these nodes, if they are idle, may go when somebody needs their room.

        Those beyond the minimum, the last ones first.
        """
        by_index = sorted(idle, key=lambda node: node.index)
        surplus = max(0, self.node_count - self._leaving_count - self.cluster.min_nodes)
        return {node.id: node for node in by_index[max(0, len(by_index) - surplus) :]}

    def drop(self, node: Node) -> None:
        """An idle node is gone, or busy."""
        del self.idle[node.id]
        self.spare.pop(node.id, None)


class Pool:
    """Everything that a plan changes while it is made.

    ``rooms`` is what hosts have now; ``rooms_with_spare`` what they would have without idle nodes
    that nobody needs to keep.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        working = [host for host in snapshot.hosts if host.takes_work]
        names = {host.name for host in working}
        closed = {host.name for host in working if not host.takes_new_nodes}
        limits = {host.name: host.node_limit for host in working}
        sizes = NodeSizes(snapshot.hosts)
        nominal = {cluster.id: cluster.node_size for cluster in snapshot.clusters}
        going = [
            node
            for node in snapshot.nodes
            if node.host not in names
            or not node.is_usable
            # Made when the host gave more, or the cluster's size was another one.
            or not (
                node.run_id
                or _is_as(node.size, sizes.on(limits[node.host], nominal[node.cluster_id]))
            )
        ]
        self.doomed = [node for node in going if not node.run_id]
        gone = {node.id for node in self.doomed}
        nodes = [node for node in snapshot.nodes if node.id not in gone]
        by_cluster: dict[str, list[Node]] = {cluster.id: [] for cluster in snapshot.clusters}
        for node in nodes:
            by_cluster[node.cluster_id].append(node)
        leaving = Counter(node.cluster_id for node in going if node.run_id)
        self.clusters = {
            cluster.id: ClusterState(
                cluster, by_cluster[cluster.id], leaving_count=leaving[cluster.id], closed=closed
            )
            for cluster in snapshot.clusters
        }
        self.rooms = Rooms(working, _free(working, nodes), sizes)
        self.rooms_with_spare = self.rooms.copy(*{c.node_size for c in snapshot.clusters})
        for state in self.clusters.values():
            for node in state.spare.values():
                self.rooms_with_spare.give(node.host, node.size)
        self.reclaimed: list[Node] = []
        self._gpus = _Gpus(working, nodes)
        holding = Holding(snapshot.hosts)
        for state in self.clusters.values():
            cluster = state.cluster
            if cluster.is_enabled:
                state.holds_at_most = min(cluster.max_nodes, holding.count(cluster.node_size))

    def has_room(self, gang: Gang) -> bool:
        """Whether idle nodes, and hosts without those that may go, are enough for it now."""
        state = self.clusters[gang.cluster_id]
        missing = gang.node_count - len(state.idle)
        size = state.cluster.node_size
        if missing <= 0 or self.rooms.count(size) >= missing:
            return True
        return self.rooms_with_spare.count(size) >= gang.node_count - state.kept_count

    def place(self, gang: Gang, *, idle: Iterable[Node], hosts: Iterable[str]) -> Placement:
        """Give it these idle nodes, and new ones on these hosts, whose room is taken already."""
        state = self.clusters[gang.cluster_id]
        node_ids = []
        for node in idle:
            if node.id in state.spare:
                self.rooms_with_spare.take(node.host, node.size)
            state.drop(node)
            node_ids.append(node.id)
        new = [self.new_node(state.cluster, host) for host in hosts]
        state.busy_count += len(node_ids) + len(new)
        state.node_count += len(new)
        return Placement(tuple(node_ids), tuple(new))

    def new_node(self, cluster: Cluster, host: str) -> Place:
        """Make a node where ``rooms`` has given up the room already."""
        size = self.rooms.size_on(host, cluster.node_size)
        self.rooms_with_spare.take(host, size)
        return Place(cluster.id, host, size, self._gpus.take(host, size.gpus))

    def choose(self, gang: Gang) -> tuple[list[Node], list[str]] | None:
        """Idle nodes and hosts for a gang that nothing keeps from starting.

        Other clusters' idle nodes go when their room is needed, those that have been idle longest
        first, and no more of them than needed.
        """
        state = self.clusters[gang.cluster_id]
        idle = list(state.idle.values())[: gang.node_count]
        missing = gang.node_count - len(idle)
        size, packs = state.cluster.node_size, state.cluster.packs
        hosts = self.rooms.choose(size, missing, packs=packs) if missing else []
        if hosts is not None:
            return idle, hosts
        in_the_way = self._reclaim(gang, missing)
        hosts = self.rooms.choose(size, missing, packs=packs)
        self._keep_unneeded(in_the_way)
        return (idle, hosts) if hosts is not None else None

    def _reclaim(self, gang: Gang, missing: int) -> list[Node]:
        own = self.clusters[gang.cluster_id]
        spare = [
            node
            for state in self.clusters.values()
            if state is not own
            for node in state.spare.values()
        ]
        taken = []
        for node in sorted(spare, key=lambda node: (-node.idle_seconds, node.id)):
            if self.rooms.count(own.cluster.node_size) >= missing:
                break
            self.rooms.give(node.host, node.size)
            self._gpus.give(node)
            taken.append(node)
        return taken

    def _keep_unneeded(self, nodes: list[Node]) -> None:
        for node in reversed(nodes):
            free = self.rooms.free[node.host]
            if all(have >= need for have, need in zip(free, node.size, strict=True)):
                self.rooms.take(node.host, node.size)
                self._gpus.keep(node)
            else:
                state = self.clusters[node.cluster_id]
                state.drop(node)
                state.node_count -= 1
                self.reclaimed.append(node)


def _is_as(size: Size, now: Size) -> bool:
    """Whether a node has what one that were made now would have."""
    return (
        isclose(size.cores, now.cores)
        and isclose(size.memory_bytes, now.memory_bytes)
        and size.gpus == now.gpus
    )


def _free(hosts: list[Host], nodes: list[Node]) -> dict[str, Size]:
    left = {host.name: list(host.total) for host in hosts}
    for node in nodes:
        room = left.get(node.host)
        if room is not None:
            room[0] -= node.size.cores
            room[1] -= node.size.memory_bytes
            room[2] -= node.size.gpus
    return {name: Size(room[0], int(room[1]), int(room[2])) for name, room in left.items()}


class _Gpus:
    """Which GPUs of each host no node has."""

    def __init__(self, hosts: list[Host], nodes: list[Node]) -> None:
        taken: dict[str, set[str]] = {}
        for node in nodes:
            if node.gpu_ids:
                taken.setdefault(node.host, set()).update(node.gpu_ids)
        self._free = {
            host.name: [gpu for gpu in host.gpu_ids if gpu not in taken.get(host.name, ())]
            for host in hosts
            if host.gpu_ids
        }

    def take(self, host: str, count: int) -> tuple[str, ...]:
        if not count:
            return ()
        free = self._free[host]
        taken, self._free[host] = tuple(free[:count]), free[count:]
        return taken

    def give(self, node: Node) -> None:
        if node.gpu_ids:
            self._free[node.host] = [*self._free[node.host], *node.gpu_ids]

    def keep(self, node: Node) -> None:
        if node.gpu_ids:
            self._free[node.host] = [g for g in self._free[node.host] if g not in node.gpu_ids]
