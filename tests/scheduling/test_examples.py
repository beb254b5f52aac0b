"""Cases that random snapshots seldom show: odd hosts, waiting in vain, room counted twice."""

from dataclasses import replace
from math import inf

import pytest

from app.scheduling.planner import plan
from app.scheduling.rooms import Holding
from app.scheduling.types import Node, Reason, Running, Size, Snapshot
from tests.scheduling.snapshots import GIB, LARGE, SMALL, busy, cluster, gang, host


@pytest.mark.parametrize("total", [Size(0.0, 64 * GIB), Size(8.0, 0), Size(0.0, 0)])
def test_a_host_without_room_holds_nothing_and_harms_nobody(total: Size) -> None:
    empty = replace(host("empty"), total=total, node_limit=total)
    assert Holding([empty]).count(SMALL) == 0
    snapshot = Snapshot(hosts=(empty, host()), clusters=(cluster(),), queue=(gang("r"),))
    assert [place.host for place in plan(snapshot).placed["r"].new] == ["h"]


def test_a_gang_that_no_end_of_a_run_helps_keeps_nobody_waiting() -> None:
    # Two idle nodes of a minimum are in its way, and stay.
    kept = tuple(Node(f"n{i}", "b", "h", i, SMALL) for i in range(2))
    snapshot = Snapshot(
        hosts=(host(cores=8.0),),
        clusters=(
            cluster("a", size=LARGE),
            cluster("b", min_nodes=2),
            cluster("c", min_nodes=1),
        ),
        nodes=kept,
        queue=(
            gang("wide", 2, cluster_id="a", waited=100.0),
            gang("also", 2, cluster_id="a", waited=50.0),
            gang("short", 2, cluster_id="b"),
        ),
    )
    found = plan(snapshot)
    assert set(found.placed["short"].node_ids) == {"n0", "n1"}
    reasons = {waiting.run_id: waiting.reason for waiting in found.waiting}
    assert reasons == {"wide": Reason.NO_CAPACITY_NOW, "also": Reason.NO_CAPACITY_NOW}
    assert [place.cluster_id for place in found.new_nodes] == ["c"]


def test_a_gang_that_waits_for_runs_without_an_end_keeps_its_turn() -> None:
    snapshot = Snapshot(
        hosts=(host(cores=8.0),),
        clusters=(cluster("a", size=LARGE), cluster("c")),
        nodes=busy("long", 1, size=LARGE, on="a"),
        running=(Running("long", "a", "u", ends_in_seconds=inf),),
        queue=(gang("wide", 2, cluster_id="a", waited=100.0), gang("later", 1)),
    )
    found = plan(snapshot)
    assert found.placed == {}
    assert {waiting.run_id: waiting.object for waiting in found.waiting}["later"] == "wide"


def test_idle_nodes_of_another_size_than_new_ones_go() -> None:
    # The host gave a node eight cores, and gives four now.
    now = replace(host(cores=8.0), node_limit=Size(4.0, 64 * GIB))
    eight = Size(8.0, 8 * GIB)
    snapshot = Snapshot(
        hosts=(now,),
        clusters=(cluster(size=eight),),
        nodes=(Node("old", "c", "h", 0, eight),),
        queue=(gang("pair", 2),),
    )
    found = plan(snapshot)
    assert found.remove_node_ids == ("old",)
    assert len(found.placed["pair"].new) == 2


def test_what_idle_nodes_hold_at_the_reserved_moment_is_not_left_over_twice() -> None:
    # At 100 s both hosts are free for the head but for the node that is idle now.
    snapshot = Snapshot(
        hosts=(host("g", cores=8.0), host("h", cores=8.0)),
        clusters=(cluster("a", size=LARGE, max_nodes=9), cluster("c", size=LARGE)),
        nodes=(
            *busy("ends", 2, on="a", at="g", size=LARGE),
            Node("idle", "c", "h", 0, LARGE),
        ),
        running=(Running("ends", "a", "u", ends_in_seconds=100.0),),
        queue=(
            gang("head", 3, cluster_id="a", waited=100.0),
            gang("beside", 2, at_most_seconds=inf),
        ),
    )
    assert "beside" not in plan(snapshot).placed
