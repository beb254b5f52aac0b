"""The planner: who gets which nodes now, and what keeps the others waiting.

A pure function of a snapshot of all hosts and clusters; the same snapshot gives the same plan.

Gangs are taken in turn (`ordering`). One that fits is placed, all of its nodes or none. The first
that a cluster's ``max_nodes`` keeps from starting gets a reservation in that cluster, the first
that lacks room on the hosts gets one on the hosts, and may preempt low-priority runs; whoever
comes later is only placed where that cannot delay them (`reservation`). Of those, higher priorities
go first, and of equals whoever ends soonest: room that is left over is worth most to the short
(shortest job backfilled first: Tsafrir, Etsion and Feitelson 2007, "Backfilling using
system-generated predictions rather than user runtime estimates").
"""

from collections.abc import Container, Sequence
from math import inf

from app.scheduling.collecting import without_collections
from app.scheduling.eviction import evictions
from app.scheduling.ordering import in_turn, shortest_first
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
from app.scheduling.scaling import grown_to_minima, no_longer_needed, target_node_count
from app.scheduling.types import (
    Gang,
    Node,
    Placement,
    Plan,
    Preemption,
    Reason,
    Snapshot,
    Waiting,
)

_Outcome = tuple[Reason, str, float]
"""What keeps a gang waiting, what that is, and when its nodes are kept for it."""


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
        # Whoever has waited for so long for a quota lets nobody take what comes back of it.
        self._waits_long_seconds = snapshot.policy.ageing_seconds
        self._running: list[Ending] | None = None
        self._placed_ending: list[Ending] = []
        self._cluster_heads: dict[str, ClusterReservation] = {}
        self._room_head: RoomReservation | None = None
        self._placed: dict[str, Placement] = {}
        self._waiting: list[Waiting] = []
        self._preempted: tuple[Preemption, ...] = ()

    def consider(self, turns: Sequence[Gang]) -> None:
        """Place those that can start, and say of the others what keeps them waiting."""
        outcomes: list[_Outcome | None] = [None] * len(turns)
        behind_head: list[int] = []
        for number, gang in enumerate(turns):
            if self._room_head is not None:
                behind_head.extend(range(number, len(turns)))
                break
            if gang.cluster_id in self._cluster_heads:
                behind_head.append(number)
            else:
                outcomes[number] = self._decide(gang)
        for number in shortest_first(turns, behind_head):
            outcomes[number] = self._decide(turns[number])
        self._say(turns, outcomes)

    def _say(self, turns: Sequence[Gang], outcomes: Sequence[_Outcome | None]) -> None:
        positions = dict.fromkeys(self._pool.clusters, 0)
        for gang, outcome in zip(turns, outcomes, strict=True):
            if outcome is not None:
                cluster_id = gang.cluster_id
                positions[cluster_id] = position = positions[cluster_id] + 1
                reason, object_, starts = outcome
                self._waiting.append(
                    Waiting(gang.run_id, cluster_id, position, reason, object_, starts)
                )

    def _decide(self, gang: Gang) -> _Outcome | None:
        """What keeps a gang waiting; None when it was placed."""
        _, cluster_id, _, node_count, _, _, at_most_seconds, _ = gang
        state = self._pool.clusters[cluster_id]
        if node_count > state.holds_at_most:
            return _for_somebody(gang, state)
        exceeded = self._quotas.exceeded(gang, state.cluster)
        if exceeded:
            reason, quota = exceeded
            if reason is Reason.QUOTA and gang.queued_seconds >= self._waits_long_seconds:
                self._quotas.keep(gang, state.cluster, quota)
            return reason, quota, inf
        behind = state.behind
        if node_count <= behind.to and (
            node_count >= behind.of_all_from
            or (at_most_seconds > behind.longer_seconds and node_count >= behind.of_longer_from)
        ):
            # Most of a long queue ends here, so it is kept short.
            state.waiting_node_count += node_count
            return Reason.BEHIND_RUN, behind.run_id, inf
        return self._place_or_wait(gang, state)

    def _place_or_wait(self, gang: Gang, state: ClusterState) -> _Outcome | None:
        head = self._cluster_heads.get(gang.cluster_id)
        exceeds = state.busy_count + gang.node_count > state.cluster.max_nodes
        if exceeds and head is None:
            state.waiting_node_count += gang.node_count
            return self._lead_cluster(gang, state)
        if exceeds or self._is_known_to_wait(gang, state):
            return self._wait_behind(gang, state, head)
        if self._pool.has_room(gang):
            if self._try_to_place(gang, state, head):
                return None
        elif self._room_head is None and head is None:
            state.waiting_node_count += gang.node_count
            return self._lead_hosts(gang, state)
        else:
            state.fits_no_more = gang.node_count
        return self._wait_behind(gang, state, head)

    def _is_known_to_wait(self, gang: Gang, state: ClusterState) -> bool:
        # Room only gets less during a plan: what did not fit needs no second look.
        if gang.node_count >= state.fits_no_more:
            return True
        return self._room_head is not None and self._room_head.is_refused(gang, state)

    def _wait_behind(
        self, gang: Gang, state: ClusterState, head: ClusterReservation | None
    ) -> _Outcome:
        state.waiting_node_count += gang.node_count
        ahead = head or self._room_head
        assert ahead is not None, "without a head, whatever fits is placed"
        state.behind = self._all_behind(state, head, ahead.gang.run_id)
        return Reason.BEHIND_RUN, ahead.gang.run_id, inf

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

    def _lead_cluster(self, gang: Gang, state: ClusterState) -> _Outcome:
        reservation = ClusterReservation(gang, state, self._all_endings())
        self._cluster_heads[gang.cluster_id] = reservation
        state.behind = NOBODY_BEHIND
        # Whoever goes before it leaves its part of the quotas to it.
        self._quotas.add(gang, state.cluster)
        return Reason.NO_CAPACITY_NOW, gang.cluster_id, reservation.starts_in_seconds

    def _lead_hosts(self, gang: Gang, state: ClusterState) -> _Outcome:
        # Room only gets less during a plan: what is too large needs no second look.
        if gang.node_count >= state.fits_never:
            return Reason.NO_CAPACITY_NOW, "", inf
        preempted = victims(gang, self._pool, self._endings())
        # Whoever has to go for it goes now: what they give back is its own from then on.
        going = {item.run_id for item in preempted or ()}
        reservation = RoomReservation(gang, self._pool, self._all_endings(going))
        is_in_sight = preempted is not None or reservation.starts_in_seconds < inf
        if not is_in_sight and not self._fits_ever(gang):
            # Whoever waited behind it would wait in vain.
            state.fits_never = gang.node_count
            return Reason.NO_CAPACITY_NOW, "", inf
        self._room_head = reservation
        self._quotas.add(gang, state.cluster)
        starts = reservation.starts_in_seconds
        self._preempted = preempted or ()
        if preempted:
            return Reason.PREEMPTING, preempted[0].run_id, starts
        if preempted is not None and any(end.run.gives_way for end in self._endings()):
            return Reason.PREEMPTING, "", starts
        return Reason.NO_CAPACITY_NOW, "", starts

    def _fits_ever(self, gang: Gang) -> bool:
        return fits_ever(gang, self._pool, [*self._endings(), *self._placed_ending])

    def _endings(self) -> list[Ending]:
        if self._running is None:
            self._running = endings(self._pool, self._snapshot.running, self._snapshot.nodes)
        return self._running

    def _all_endings(self, going: Container[str] = ()) -> list[Ending]:
        """What is expected to end, of what runs and of what this plan has placed so far.

        Args:
            going: runs that are told to end now.
        """
        ending = [*self._endings(), *self._placed_ending]
        expected = [
            end.now() if end.run.run_id in going else end
            for end in ending
            if end.ends_in_seconds < inf or end.run.run_id in going
        ]
        return sorted(expected, key=Ending.key)

    def result(self) -> Plan:
        """All decisions, with growth to the minima and idle nodes that have to go."""
        new = () if self._room_head is not None else tuple(grown_to_minima(self._pool))
        states = self._pool.clusters
        may_go = _may_go if self._room_head is None else self._room_head.may_go
        idle = [node for state in states.values() for node in no_longer_needed(state, may_go)]
        removed = [*self._pool.doomed, *self._pool.reclaimed, *idle]
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
                cluster_id: target_node_count(state) for cluster_id, state in states.items()
            },
        )


def _may_go(_: Node) -> bool:
    return True


def _for_somebody(gang: Gang, state: ClusterState) -> _Outcome:
    """Only somebody who changes the cluster, or the hosts, lets it start."""
    if not state.cluster.is_enabled:
        return Reason.CLUSTER_DISABLED, gang.cluster_id, inf
    if gang.node_count > state.cluster.max_nodes:
        return Reason.LARGER_THAN_CLUSTER, gang.cluster_id, inf
    return Reason.LARGER_THAN_HOSTS, "", inf
