"""Properties of the planner that hold for every snapshot."""

from collections import Counter
from dataclasses import replace
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from app.scheduling.planner import plan
from app.scheduling.types import Leaving, Reason, Snapshot
from tests.scheduling.snapshots import after, later, snapshots

_ROUNDING = 1e-6
_EXAMPLES = max(200, settings().max_examples)


@given(snapshots())
def test_every_gang_gets_all_its_nodes_or_none(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    sizes = {gang.run_id: gang.node_count for gang in snapshot.queue}
    for run_id, placement in decision.placed.items():
        assert len(placement.node_ids) + len(placement.new) == sizes[run_id]


@given(snapshots())
def test_a_node_is_given_once_to_its_own_cluster_and_only_when_idle(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    homes = {gang.run_id: gang.cluster_id for gang in snapshot.queue}
    idle = {node.id: node.cluster_id for node in snapshot.nodes if not node.run_id}
    unusable = {node.id for node in snapshot.nodes if not node.run_id and not node.is_usable}
    assert unusable <= set(decision.remove_node_ids)
    taken = [(run, node) for run, item in decision.placed.items() for node in item.node_ids]
    assert len({node for _, node in taken}) == len(taken)
    for run_id, node_id in taken:
        assert idle[node_id] == homes[run_id]
    assert set(decision.remove_node_ids) <= set(idle)
    assert not set(decision.remove_node_ids) & {node for _, node in taken}
    assert len(set(decision.remove_node_ids)) == len(decision.remove_node_ids)


@given(snapshots())
def test_no_host_is_ever_over_its_capacity(snapshot: Snapshot) -> None:
    then = after(snapshot, plan(snapshot))
    before = {node.id for node in snapshot.nodes}
    for host in snapshot.hosts:
        nodes = [node for node in then.nodes if node.host == host.name]
        assert sum(node.size.cores for node in nodes) <= host.total.cores + _ROUNDING
        assert sum(node.size.memory_bytes for node in nodes) <= host.total.memory_bytes
        gpus = [gpu for node in nodes for gpu in node.gpu_ids]
        assert len(set(gpus)) == len(gpus)
        assert set(gpus) <= set(host.gpu_ids)
        for node in nodes:
            assert len(node.gpu_ids) == node.size.gpus
            assert host.takes_work or node.id in before


@given(snapshots())
def test_clusters_stay_within_their_bounds(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    counts = Counter(node.cluster_id for node in after(snapshot, decision).nodes)
    removed = set(decision.remove_node_ids)
    lost = Counter(n.cluster_id for n in snapshot.nodes if n.id in removed)
    working = {host.name for host in snapshot.hosts if host.takes_work}
    doomed = Counter(
        n.cluster_id
        for n in snapshot.nodes
        if n.id in removed and (n.host not in working or not n.is_usable)
    )
    for cluster in snapshot.clusters:
        count = counts[cluster.id]
        assert count <= cluster.max_nodes
        if lost[cluster.id] > doomed[cluster.id]:
            assert count >= cluster.min_nodes
        assert decision.target_node_counts[cluster.id] >= max(cluster.min_nodes, count)


@given(snapshots())
def test_everything_unplaced_has_a_reason_and_a_place_in_its_queue(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    waiting = {item.run_id for item in decision.waiting}
    assert waiting | set(decision.placed) == {gang.run_id for gang in snapshot.queue}
    assert not waiting & set(decision.placed)
    for cluster in snapshot.clusters:
        positions = [w.position for w in decision.waiting if w.cluster_id == cluster.id]
        assert positions == list(range(1, len(positions) + 1))
    for item in decision.waiting:
        if item.reason is Reason.BEHIND_RUN:
            assert item.object in waiting - {item.run_id}


@given(snapshots())
def test_quotas_hold(snapshot: Snapshot) -> None:
    then = after(snapshot, plan(snapshot))
    placed = {run.run_id for run in then.running} - {run.run_id for run in snapshot.running}
    homes = {cluster.id: cluster for cluster in snapshot.clusters}
    for run_id in placed:
        run = next(run for run in then.running if run.run_id == run_id)
        workspace_id = homes[run.cluster_id].workspace_id
        of_workspace = [r for r in then.running if homes[r.cluster_id].workspace_id == workspace_id]
        of_user = [r for r in then.running if r.user_id == run.user_id]
        for limits, runs in (
            (snapshot.workspace_limits.get(workspace_id), of_workspace),
            (snapshot.user_limits.get(run.user_id), of_user),
        ):
            if limits is not None:
                ids = {r.run_id: homes[r.cluster_id].node_size.cores for r in runs}
                cores = sum(ids.get(node.run_id, 0.0) for node in then.nodes)
                assert len(ids) <= limits.runs
                assert cores <= limits.cores + _ROUNDING


@given(snapshots())
def test_no_more_of_a_budget_is_kept_than_is_left(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    owners = {cluster.id: cluster.workspace_id for cluster in snapshot.clusters}
    for workspace_id, left in snapshot.workspace_budgets.items():
        mine = [g for g in snapshot.queue if owners[g.cluster_id] == workspace_id]
        kept = sum(gang.cost for gang in mine if gang.run_id in decision.placed)
        assert kept <= max(0.0, left) + 1e-3
    blocked = {w.run_id for w in decision.waiting if w.reason is Reason.BUDGET}
    for gang in snapshot.queue:
        if gang.run_id in blocked:
            assert gang.cost > 0
            assert owners[gang.cluster_id] in snapshot.workspace_budgets


@given(snapshots())
def test_only_strictly_lower_work_is_preempted_and_only_for_room(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    homes = {cluster.id: cluster for cluster in snapshot.clusters}
    gangs = {gang.run_id: gang for gang in snapshot.queue}
    running = {run.run_id: run for run in snapshot.running}
    for item in decision.preempted:
        gang, victim = gangs[item.for_run_id], running[item.run_id]
        assert homes[victim.cluster_id].is_low_priority
        assert not victim.is_stopping
        if homes[gang.cluster_id].is_low_priority:
            assert victim.priority < gang.priority
        waiting = next(w for w in decision.waiting if w.run_id == gang.run_id)
        assert waiting.reason is Reason.PREEMPTING


@given(snapshots())
def test_once_the_preempted_have_stopped_there_is_room(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    if not decision.preempted:
        return
    for_run_id = decision.preempted[0].for_run_id
    then = later(after(snapshot, decision), 0.0)
    placed = plan(then).placed
    assert for_run_id in placed


@given(snapshots())
def test_the_same_snapshot_gives_the_same_plan_whatever_the_order(snapshot: Snapshot) -> None:
    turned = Snapshot(
        **{
            **{name: getattr(snapshot, name) for name in snapshot.__dataclass_fields__},
            "queue": tuple(reversed(snapshot.queue)),
            "running": tuple(reversed(snapshot.running)),
            "hosts": tuple(reversed(snapshot.hosts)),
        }
    )
    assert plan(snapshot) == plan(snapshot)
    first, second = plan(snapshot), plan(turned)
    assert set(first.placed) == set(second.placed)
    assert first.waiting == second.waiting
    assert first.preempted == second.preempted


@given(snapshots())
@settings(max_examples=_EXAMPLES)
def test_backfill_never_delays_whoever_waits_for_room(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    rooms = [w for w in decision.waiting if w.starts_in_seconds < inf and not w.object]
    for head in rooms:
        # Everything runs as long as it may, and low-priority work is left alone.
        untouched = replace(
            after(snapshot, replace(decision, preempted=())), user_limits={}, workspace_budgets={}
        )
        then = later(untouched, head.starts_in_seconds)
        queue = tuple(gang for gang in then.queue if gang.run_id == head.run_id)
        assert head.run_id in plan(replace(then, queue=queue, workspace_limits={})).placed


@given(snapshots())
@settings(max_examples=_EXAMPLES)
def test_backfill_never_delays_whoever_waits_for_its_cluster(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    heads = [w for w in decision.waiting if w.starts_in_seconds < inf and w.object == w.cluster_id]
    for head in heads:
        then = later(after(snapshot, decision), head.starts_in_seconds)
        busy = [n for n in then.nodes if n.cluster_id == head.cluster_id and n.run_id]
        needed = next(g.node_count for g in snapshot.queue if g.run_id == head.run_id)
        cluster = next(c for c in snapshot.clusters if c.id == head.cluster_id)
        assert len(busy) + needed <= cluster.max_nodes


@given(snapshots(), st.lists(st.sampled_from(list(Leaving)), min_size=4, max_size=4))
def test_those_who_have_to_leave_a_host_are_told_once(
    snapshot: Snapshot, leaving: list[Leaving]
) -> None:
    hosts = tuple(
        replace(host, takes_work=who is Leaving.NOBODY, leaving=who)
        for host, who in zip(snapshot.hosts, leaving, strict=False)
    )
    snapshot = replace(snapshot, hosts=hosts)
    decision = plan(snapshot)
    low = {cluster.id for cluster in snapshot.clusters if cluster.is_low_priority}
    who_leaves = {host.name: host.leaving for host in hosts}
    stopping = {run.run_id for run in snapshot.running if run.is_stopping}
    preempted = {item.run_id for item in decision.preempted}
    expected = {
        node.run_id
        for node in snapshot.nodes
        if node.run_id
        and (
            who_leaves[node.host] is Leaving.EVERYBODY
            or (who_leaves[node.host] is Leaving.LOW_PRIORITY and node.cluster_id in low)
        )
    }
    evicted = [item.run_id for item in decision.evicted]
    assert len(set(evicted)) == len(evicted)
    assert set(evicted) == expected - stopping - preempted
    for item in decision.evicted:
        assert who_leaves[item.host] is not Leaving.NOBODY
    for placement in decision.placed.values():
        assert all(who_leaves[place.host] is Leaving.NOBODY for place in placement.new)
