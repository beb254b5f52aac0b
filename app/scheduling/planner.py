"""The planner: who gets which nodes now, and what keeps the others waiting.

A pure function of a snapshot of all hosts and clusters; the same snapshot gives the same plan.

Gangs are taken in turn (`ordering`). One that fits is placed, all of its nodes or none. The first
that a cluster's ``max_nodes`` keeps from starting gets a reservation in that cluster, the first
that lacks room on the hosts gets one on the hosts, and may preempt low-priority runs; whoever
comes later is only placed where that cannot delay them (`reservation`).
"""

from collections.abc import Iterable
from math import inf

from app.scheduling.collecting import without_collections
from app.scheduling.eviction import evictions
from app.scheduling.ordering import in_turn
from app.scheduling.pool import NOBODY_BEHIND, Behind, ClusterState, Pool
from app.scheduling.preemption import victims
from app.scheduling.quotas import Quotas
from app.scheduling.reservation import (
    ClusterReservation,
    Ending,
    RoomReservation,
    ending_of,
    endings,
    fits_ever,
)
from app.scheduling.types import (
    Gang,
    Node,
    Place,
    Placement,
    Plan,
    Preemption,
    Reason,
    Snapshot,
    Waiting,
)


def plan(snapshot: Snapshot) -> Plan:
    """Decide placement, growth, shrinking and preemption for everything that shares the hosts.

    Args:
        snapshot: all of it now.
    """
    with without_collections():
        cycle = _Cycle(snapshot)
        cycle.consider(in_turn(snapshot))
        return cycle.result()


class _Cycle:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._pool = Pool(snapshot)
        self._quotas = Quotas(snapshot)
        self._running: list[Ending] | None = None
        self._placed_ending: list[Ending] = []
        self._cluster_heads: dict[str, ClusterReservation] = {}
        self._room_head: RoomReservation | None = None
        self._placed: dict[str, Placement] = {}
        self._waiting: list[Waiting] = []
        self._preempted: tuple[Preemption, ...] = ()

    def consider(self, gangs: Iterable[Gang]) -> None:
        """Place those that can start, and say of the others what keeps them waiting."""
        clusters, quotas, waiting = self._pool.clusters, self._quotas, self._waiting
        for gang in gangs:
            run_id, cluster_id, _, node_count, _, _, at_most_seconds, _ = gang
            state = clusters[cluster_id]
            if node_count > state.holds_at_most:
                self._wait_for_somebody(gang, state)
                continue
            exceeded = quotas.exceeded(gang, state.cluster)
            if exceeded:
                self._wait(gang, *exceeded)
                continue
            behind = state.behind
            if node_count <= behind.to and (
                node_count >= behind.of_all_from
                or (at_most_seconds > behind.longer_seconds and node_count >= behind.of_longer_from)
            ):
                # Most of a long queue ends here, so it is kept short.
                state.waiting_count += 1
                state.waiting_node_count += node_count
                position = state.waiting_count
                waiting.append(
                    Waiting(run_id, cluster_id, position, Reason.BEHIND_RUN, behind.run_id)
                )
            else:
                self._place_or_wait(gang, state)

    def _wait_for_somebody(self, gang: Gang, state: ClusterState) -> None:
        if not state.cluster.is_enabled:
            self._wait(gang, Reason.CLUSTER_DISABLED, gang.cluster_id)
        elif gang.node_count > state.cluster.max_nodes:
            self._wait(gang, Reason.LARGER_THAN_CLUSTER, gang.cluster_id)
        else:
            self._wait(gang, Reason.LARGER_THAN_HOSTS)

    def _place_or_wait(self, gang: Gang, state: ClusterState) -> None:
        head = self._cluster_heads.get(gang.cluster_id)
        exceeds = state.busy_count + gang.node_count > state.cluster.max_nodes
        if exceeds and head is None:
            state.waiting_node_count += gang.node_count
            self._lead_cluster(gang, state)
        elif exceeds or self._is_known_to_wait(gang, state):
            self._wait_behind(gang, state, head)
        elif self._pool.has_room(gang):
            if not self._try_to_place(gang, state, head):
                self._wait_behind(gang, state, head)
        elif self._room_head is None and head is None:
            state.waiting_node_count += gang.node_count
            self._lead_hosts(gang, state)
        else:
            state.fits_no_more = gang.node_count
            self._wait_behind(gang, state, head)

    def _is_known_to_wait(self, gang: Gang, state: ClusterState) -> bool:
        # Room only gets less during a plan: what did not fit needs no second look.
        if gang.node_count >= state.fits_no_more:
            return True
        return self._room_head is not None and self._room_head.is_refused(gang, state)

    def _wait_behind(
        self, gang: Gang, state: ClusterState, head: ClusterReservation | None
    ) -> None:
        state.waiting_node_count += gang.node_count
        ahead = head or self._room_head
        assert ahead is not None, "without a head, whatever fits is placed"
        self._wait(gang, Reason.BEHIND_RUN, ahead.gang.run_id)
        state.behind = self._all_behind(state, head, ahead.gang.run_id)

    def _all_behind(
        self, state: ClusterState, head: ClusterReservation | None, run_id: str
    ) -> Behind:
        """Who else has to wait behind this run, until the cluster has more nodes or a head."""
        left = state.cluster.max_nodes - state.busy_count
        of_all, of_longer = [state.fits_no_more], [state.fits_no_more]
        longer_seconds = 0.0
        if self._room_head is not None:
            of_all.append(max(state.refused))
            of_longer.append(state.refused[False])
            longer_seconds = self._room_head.starts_in_seconds
        if head is not None:
            of_all.append(left + 1)
            of_longer += [left + 1, head.spare_count + 1]
            longer_seconds = max(longer_seconds, head.starts_in_seconds)
        return Behind(
            run_id,
            to=left if head is None else state.holds_at_most,
            of_all_from=min(of_all),
            of_longer_from=min(of_longer),
            longer_seconds=longer_seconds,
        )

    def _try_to_place(
        self, gang: Gang, state: ClusterState, head: ClusterReservation | None
    ) -> bool:
        if head is not None and not head.allows(gang):
            return False
        if self._room_head is None:
            chosen = self._pool.choose(gang)
        else:
            chosen = self._room_head.choose(gang, self._pool)
        if chosen is None:
            return False
        idle, hosts = chosen
        placement = self._pool.place(gang, idle=idle, hosts=hosts)
        state.behind = NOBODY_BEHIND
        self._placed[gang.run_id] = placement
        self._placed_ending.append(ending_of(gang, idle, placement.new))
        self._quotas.add(gang, state.cluster)
        if head is not None:
            head.note(gang)
        return True

    def _lead_cluster(self, gang: Gang, state: ClusterState) -> None:
        reservation = ClusterReservation(gang, state, self._all_endings())
        self._cluster_heads[gang.cluster_id] = reservation
        state.behind = NOBODY_BEHIND
        # Whoever goes before it leaves its part of the quotas to it.
        self._quotas.add(gang, state.cluster)
        starts = reservation.starts_in_seconds
        self._wait(gang, Reason.NO_CAPACITY_NOW, gang.cluster_id, starts)

    def _lead_hosts(self, gang: Gang, state: ClusterState) -> None:
        # Room only gets less during a plan: what is too large needs no second look.
        if gang.node_count >= state.fits_never:
            self._wait(gang, Reason.NO_CAPACITY_NOW)
            return
        reservation = RoomReservation(gang, self._pool, self._all_endings())
        preempted = victims(gang, self._pool, self._endings())
        is_in_sight = preempted is not None or reservation.starts_in_seconds < inf
        if not is_in_sight and not self._fits_ever(gang):
            # Whoever waited behind it would wait in vain.
            state.fits_never = gang.node_count
            self._wait(gang, Reason.NO_CAPACITY_NOW)
            return
        self._room_head = reservation
        self._quotas.add(gang, state.cluster)
        if preempted is None:
            self._wait(gang, Reason.NO_CAPACITY_NOW, "", self._room_head.starts_in_seconds)
        else:
            self._preempted = preempted
            first = preempted[0].run_id if preempted else ""
            self._wait(gang, Reason.PREEMPTING, first, self._room_head.starts_in_seconds)

    def _wait(
        self, gang: Gang, reason: Reason, object_: str = "", starts: float = float("inf")
    ) -> None:
        state = self._pool.clusters[gang.cluster_id]
        state.waiting_count += 1
        self._waiting.append(
            Waiting(gang.run_id, gang.cluster_id, state.waiting_count, reason, object_, starts)
        )

    def _fits_ever(self, gang: Gang) -> bool:
        return fits_ever(gang, self._pool, [*self._endings(), *self._placed_ending])

    def _endings(self) -> list[Ending]:
        if self._running is None:
            self._running = endings(self._pool, self._snapshot.running, self._snapshot.nodes)
        return self._running

    def _all_endings(self) -> list[Ending]:
        """What is expected to end, of what runs and of what this plan has placed so far."""
        expected = self._expected([*self._endings(), *self._placed_ending])
        return sorted(expected, key=Ending.key)

    def _expected(self, ending: Iterable[Ending]) -> list[Ending]:
        return [end for end in ending if end.ends_in_seconds < inf]

    def result(self) -> Plan:
        """All decisions, with growth to the minima and idle nodes that have to go."""
        new = tuple(self._grow_to_minima())
        removable = [node for state in self._pool.clusters.values() for node in _removable(state)]
        removed = [*self._pool.doomed, *self._pool.reclaimed, *removable]
        return Plan(
            placed=self._placed,
            waiting=tuple(self._waiting),
            preempted=self._preempted,
            evicted=evictions(
                self._snapshot, besides=[preempted.run_id for preempted in self._preempted]
            ),
            new_nodes=new,
            remove_node_ids=tuple(node.id for node in removed),
            target_node_counts={
                cluster_id: _target(state) for cluster_id, state in self._pool.clusters.items()
            },
        )

    def _grow_to_minima(self) -> list[Place]:
        if self._room_head is not None:
            return []
        new = []
        for state in self._pool.clusters.values():
            cluster = state.cluster
            missing = cluster.min_nodes - state.node_count
            count = min(missing, self._pool.rooms.count(cluster.node_size))
            if count > 0:
                hosts = self._pool.rooms.choose(cluster.node_size, count, packs=cluster.packs)
                new += [self._pool.new_node(cluster, host) for host in hosts or []]
                state.node_count += count
        return new


def _removable(state: ClusterState) -> list[Node]:
    cluster = state.cluster
    surplus = state.node_count - cluster.min_nodes
    over = state.node_count - cluster.max_nodes
    going = []
    for position, node in enumerate(sorted(state.idle.values(), key=lambda node: -node.index)):
        # Nodes stay while somebody waits for this cluster, however long they have been idle.
        is_old = node.idle_seconds >= cluster.idle_seconds_before_scaledown
        if position < over or (is_old and not state.waiting_node_count):
            going.append(node)
    going = going[: max(0, surplus)]
    state.node_count -= len(going)
    return going


def _target(state: ClusterState) -> int:
    cluster = state.cluster
    wanted = min(state.busy_count + state.waiting_node_count, cluster.max_nodes)
    return max(cluster.min_nodes, wanted, state.node_count)
