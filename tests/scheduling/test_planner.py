"""Properties of the planner, and the cases that people ask about."""

from hypothesis import given
from hypothesis import strategies as st

from app.scheduling.planner import plan
from app.scheduling.types import Gang, Node, Reason, Snapshot


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    max_nodes = draw(st.integers(1, 6))
    count = draw(st.integers(0, max_nodes))
    nodes = tuple(
        Node(
            id=f"n{index}",
            index=index,
            is_idle=draw(st.booleans()),
            idle_seconds=draw(st.floats(0, 500)),
        )
        for index in range(count)
    )
    queue = tuple(
        Gang(run_id=f"r{i}", node_count=draw(st.integers(1, 8)), queued_order=(float(i), f"r{i}"))
        for i in range(draw(st.integers(0, 6)))
    )
    return Snapshot(
        nodes=nodes,
        queue=queue,
        min_nodes=draw(st.integers(0, max_nodes)),
        max_nodes=max_nodes,
        idle_seconds_before_scaledown=120.0,
        addable_node_count=draw(st.integers(0, 6)),
    )


@given(snapshots())
def test_every_gang_gets_all_its_nodes_or_none(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    sizes = {gang.run_id: gang.node_count for gang in snapshot.queue}
    for run_id, node_ids in decision.placed.items():
        assert len(node_ids) == sizes[run_id]


@given(snapshots())
def test_a_node_is_given_once_and_only_when_idle(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    given_nodes = [node_id for ids in decision.placed.values() for node_id in ids]
    idle = {node.id for node in snapshot.nodes if node.is_idle}
    assert len(given_nodes) == len(set(given_nodes))
    assert set(given_nodes) <= idle
    assert not set(decision.remove_node_ids) & set(given_nodes)
    assert set(decision.remove_node_ids) <= idle


@given(snapshots())
def test_the_cluster_stays_within_its_bounds(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    after = len(snapshot.nodes) + decision.add_node_count - len(decision.remove_node_ids)
    assert after <= snapshot.max_nodes
    assert decision.add_node_count <= snapshot.addable_node_count
    if decision.remove_node_ids:
        assert after >= snapshot.min_nodes


@given(snapshots())
def test_everything_unplaced_has_a_reason(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    waiting = {item.run_id for item in decision.waiting}
    assert waiting | set(decision.placed) == {gang.run_id for gang in snapshot.queue}
    assert not waiting & set(decision.placed)
    assert [item.position for item in decision.waiting] == list(range(1, len(waiting) + 1))


@given(snapshots())
def test_nobody_overtakes_the_head_of_the_queue(snapshot: Snapshot) -> None:
    decision = plan(snapshot)
    possible = [g for g in snapshot.queue if g.node_count <= snapshot.max_nodes]
    placed = [gang.run_id in decision.placed for gang in possible]
    assert placed == sorted(placed, reverse=True)


@given(snapshots())
def test_the_same_snapshot_gives_the_same_plan(snapshot: Snapshot) -> None:
    assert plan(snapshot) == plan(snapshot)


def test_a_cluster_grows_for_its_queue_and_no_further() -> None:
    gangs = tuple(Gang(f"r{i}", 1, (float(i), "")) for i in range(6))
    decision = plan(Snapshot((), gangs, 0, 4, 120.0, 10))
    assert decision.add_node_count == 4
    assert decision.target_node_count == 4
    assert decision.waiting[0].reason is Reason.CLUSTER_GROWING
    assert decision.waiting[1].reason is Reason.BEHIND_RUN
    assert decision.waiting[1].behind_run_id == "r0"


def test_a_full_machine_is_named_as_the_reason() -> None:
    decision = plan(Snapshot((), (Gang("r", 2, (0.0, "r")),), 0, 4, 120.0, 1))
    assert decision.waiting[0].reason is Reason.NO_CAPACITY_NOW


def test_a_gang_larger_than_the_cluster_does_not_hold_up_the_others() -> None:
    queue = (Gang("big", 9, (0.0, "big")), Gang("small", 1, (1.0, "small")))
    decision = plan(Snapshot((Node("n0", 0, is_idle=True),), queue, 0, 4, 120.0, 4))
    assert decision.placed == {"small": ("n0",)}
    assert decision.waiting[0].reason is Reason.LARGER_THAN_CLUSTER


def test_idle_nodes_go_after_their_time_down_to_the_minimum() -> None:
    nodes = tuple(Node(f"n{i}", i, is_idle=True, idle_seconds=200.0) for i in range(3))
    decision = plan(Snapshot(nodes, (), 1, 4, 120.0, 4))
    assert decision.remove_node_ids == ("n2", "n1")
    assert decision.target_node_count == 1


def test_a_young_idle_node_stays() -> None:
    nodes = (Node("n0", 0, is_idle=True, idle_seconds=20.0),)
    assert plan(Snapshot(nodes, (), 0, 4, 120.0, 4)).remove_node_ids == ()


def test_idle_nodes_of_a_host_that_takes_no_work_go_and_others_are_made() -> None:
    nodes = (
        Node("n0", 0, is_idle=True, is_usable=False),
        Node("n1", 1, is_idle=False, is_usable=False),
        Node("n2", 2, is_idle=True),
    )
    queue = (Gang("r1", 2, (1.0, "r1")),)

    decision = plan(Snapshot(nodes, queue, 2, 3, 120.0, 5))

    assert decision.placed == {}
    assert decision.remove_node_ids == ("n0",)
    assert decision.add_node_count == 1


def test_a_cluster_at_its_minimum_moves_away_from_such_a_host() -> None:
    nodes = (Node("n0", 0, is_idle=True, is_usable=False),)

    decision = plan(Snapshot(nodes, (), 1, 1, 120.0, 1))

    assert (decision.remove_node_ids, decision.add_node_count) == (("n0",), 1)
