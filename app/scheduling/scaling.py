"""Growth of clusters to their minima, and idle nodes that have to go."""

from collections.abc import Callable

from app.scheduling.pool import ClusterState, Pool
from app.scheduling.types import Node, Place


def grown_to_minima(pool: Pool) -> list[Place]:
    """New nodes for clusters with fewer than their minimum, as far as there is room."""
    new = []
    for state in pool.clusters.values():
        cluster = state.cluster
        missing = cluster.min_nodes - state.node_count
        count = min(missing, pool.rooms.count(cluster.node_size))
        if count > 0:
            hosts = pool.rooms.choose(cluster.node_size, count, packs=cluster.packs)
            new += [pool.new_node(cluster, host) for host in hosts or []]
            state.node_count += count
    return new


def no_longer_needed(state: ClusterState, may_go: Callable[[Node], bool]) -> list[Node]:
    """Idle nodes beyond the maximum, or beyond the minimum and idle for too long; they go.

    Args:
        state: of a cluster, after all else was decided.
        may_go: whether nobody counts on it that a node stays and another one of its cluster goes.
    """
    cluster = state.cluster
    surplus = state.node_count - cluster.min_nodes
    over = state.node_count - cluster.max_nodes
    going = []
    for position, node in enumerate(sorted(state.idle.values(), key=lambda node: -node.index)):
        # Nodes stay while somebody waits for this cluster, however long they have been idle.
        is_old = node.idle_seconds >= cluster.idle_seconds_before_scaledown
        if position < over or (is_old and not state.waiting_node_count and may_go(node)):
            going.append(node)
    going = going[: max(0, surplus)]
    state.node_count -= len(going)
    return going


def target_node_count(state: ClusterState) -> int:
    """How many nodes a cluster should have in the end."""
    cluster = state.cluster
    wanted = max(state.busy_count + state.waiting_node_count, state.node_count)
    return max(cluster.min_nodes, min(wanted, cluster.max_nodes))
