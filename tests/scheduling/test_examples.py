"""Cases that random snapshots seldom show: odd hosts, waiting in vain, room counted twice."""

from dataclasses import replace
from math import inf

import pytest

from app.scheduling.planner import plan
from app.scheduling.rooms import Holding
from app.scheduling.types import Limits, Node, Reason, Running, Size, Snapshot
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


def test_nobody_takes_the_room_that_others_give_up_for_a_gang() -> None:
    # Low-priority work goes now; by itself it would have ended in 600 s.
    snapshot = Snapshot(
        hosts=(host(),),
        clusters=(cluster("low", is_low_priority=True), cluster("a"), cluster()),
        nodes=busy("victim", 2, on="low"),
        running=(Running("victim", "low", "u", ends_in_seconds=600.0),),
        queue=(
            gang("head", 4, cluster_id="a", waited=100.0),
            gang("short", 2, at_most_seconds=600.0),
        ),
    )
    found = plan(snapshot)
    assert [item.run_id for item in found.preempted] == ["victim"]
    assert found.placed == {}


def test_who_is_only_waited_for_is_not_said_to_be_preempted() -> None:
    snapshot = Snapshot(
        hosts=(host(),),
        clusters=(cluster(),),
        nodes=busy("ends", 4),
        running=(Running("ends", "c", "u", is_stopping=True),),
        queue=(gang("next", 2),),
    )
    assert [item.reason for item in plan(snapshot).waiting] == [Reason.NO_CAPACITY_NOW]
    gives_way = Running("ends", "c", "u", is_stopping=True, gives_way=True)
    other = replace(snapshot, clusters=(cluster(), cluster("d")), running=(gives_way,))
    wide = gang("wide", 2, cluster_id="d")
    assert [item.reason for item in plan(replace(other, queue=(wide,))).waiting] == [
        Reason.PREEMPTING
    ]


@pytest.mark.parametrize("packs", [False, True])
def test_a_size_is_cut_down_only_where_no_host_holds_it_whole(packs: bool) -> None:
    plain, graphics = host("a", cores=64.0), host("b", cores=8.0, gpus=1)
    size = Size(6.0, 16 * GIB, 1)
    snapshot = Snapshot(
        hosts=(plain, graphics),
        clusters=(cluster(size=size, packs=packs),),
        queue=(gang("one"), gang("two", 2)),
    )
    found = plan(snapshot)
    assert [(place.host, place.size) for place in found.placed["one"].new] == [("b", size)]
    assert {item.run_id: item.reason for item in found.waiting} == {"two": Reason.LARGER_THAN_HOSTS}


def test_where_no_host_is_large_enough_a_node_has_as_many_gpus_as_the_best_gives() -> None:
    plain, graphics = host("a", cores=64.0), host("b", cores=4.0, gpus=1)
    snapshot = Snapshot(
        hosts=(plain, graphics),
        clusters=(cluster(size=Size(6.0, 16 * GIB, 4)),),
        queue=(gang("one"),),
    )
    (place,) = plan(snapshot).placed["one"].new
    assert (place.host, place.size) == ("b", Size(4.0, 16 * GIB, 1))


def test_a_run_without_a_limit_that_starts_now_does_not_stop_all_others() -> None:
    # As in the next plan, in which it runs: it may end at any moment.
    snapshot = Snapshot(
        hosts=(host("g"), host("h")),
        clusters=(cluster("a"), cluster("b", size=LARGE), cluster()),
        queue=(
            gang("first", 1, cluster_id="a", waited=300.0),
            gang("head", 2, cluster_id="b", waited=200.0),
        ),
    )
    starts = {item.run_id: item.starts_in_seconds for item in plan(snapshot).waiting}
    assert starts == {"head": 0.0}


def test_a_cluster_that_was_made_smaller_should_have_no_more_than_its_maximum() -> None:
    snapshot = Snapshot(
        hosts=(host(),), clusters=(cluster(max_nodes=1),), nodes=busy("r", 2),
        running=(Running("r", "c", "u"),),
    )  # fmt: skip
    assert plan(snapshot).target_node_counts == {"c": 1}


def test_whoever_waits_long_for_a_quota_keeps_what_comes_back_of_it() -> None:
    snapshot = Snapshot(
        hosts=(host(cores=64.0),),
        clusters=(cluster(max_nodes=64),),
        nodes=busy("r", 3),
        running=(Running("r", "c", "u"),),
        workspace_limits={"workspace of c": Limits(nodes=4.0)},
        queue=(gang("wide", 4, waited=600.0), gang("narrow", 1)),
    )
    assert plan(snapshot).placed == {}
    waits_short = replace(snapshot, queue=(gang("wide", 4, waited=599.0), gang("narrow", 1)))
    assert set(plan(waits_short).placed) == {"narrow"}
    # What the quota can never give keeps nobody waiting.
    lowered = replace(snapshot, queue=(gang("wide", 5, waited=600.0), gang("narrow", 1)))
    assert set(plan(lowered).placed) == {"narrow"}
