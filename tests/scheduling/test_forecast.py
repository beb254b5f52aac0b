"""Forecasts: intervals that are ones, and that grow with the queue and with the time runs take."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scheduling.forecast import Lasts, forecast
from app.scheduling.planner import plan
from app.scheduling.types import Node, Reason, Running, Size, Snapshot, Waiting
from tests.scheduling.snapshots import GIB, SMALL, busy, cluster, gang, host, snapshots

_SECONDS = st.sampled_from((0.0, 5.0, 60.0, 600.0))


@st.composite
def known(draw: st.DrawFn) -> tuple[Snapshot, dict[str, Lasts]]:
    """A snapshot, and how long everything in it takes."""
    snapshot = draw(snapshots())
    lasts = {}
    run_ids = [run.run_id for run in snapshot.running] + [gang.run_id for gang in snapshot.queue]
    for run_id in run_ids:
        shortest = draw(_SECONDS)
        lasts[run_id] = Lasts(shortest, shortest + draw(st.one_of(_SECONDS, st.just(inf))))
    return snapshot, lasts


@given(known())
def test_the_early_end_is_never_after_the_late_one(
    given_: tuple[Snapshot, dict[str, Lasts]],
) -> None:
    snapshot, lasts = given_
    waiting = plan(snapshot).waiting
    found = forecast(snapshot, waiting, lasts)
    for item in waiting:
        if item.run_id in found:
            assert 0.0 <= found[item.run_id].shortest <= found[item.run_id].longest


@given(known(), st.sampled_from((1.0, 100.0)))
def test_nobody_starts_earlier_when_everything_takes_longer(
    given_: tuple[Snapshot, dict[str, Lasts]], more: float
) -> None:
    snapshot, lasts = given_
    waiting = plan(snapshot).waiting
    before = forecast(snapshot, waiting, lasts)
    slower = {
        key: Lasts(value.shortest + more, value.longest + more) for key, value in lasts.items()
    }
    after = forecast(snapshot, waiting, slower)
    for run_id, start in before.items():
        assert after[run_id].shortest >= start.shortest
        assert after[run_id].longest >= start.longest


def test_a_queue_of_one_cluster_starts_one_after_the_other() -> None:
    snapshot = Snapshot(
        hosts=(host(cores=64.0),),
        clusters=(cluster(max_nodes=1),),
        nodes=busy("r"),
        queue=(gang("a", waited=2.0), gang("b", waited=1.0)),
    )
    waiting = [
        Waiting("a", "c", 1, Reason.NO_CAPACITY_NOW, "c", 10.0),
        Waiting("b", "c", 2, Reason.BEHIND_RUN, "a"),
    ]
    lasts = {"r": Lasts(10.0, 20.0), "a": Lasts(100.0, 200.0)}
    assert forecast(snapshot, waiting, lasts) == {"a": (10.0, 20.0), "b": (110.0, 220.0)}
    assert forecast(snapshot, waiting, {}) == {"a": (0.0, inf), "b": (0.0, inf)}


def test_the_late_end_knows_on_which_host_there_is_room() -> None:
    # Two cores are free on each host, and a node needs three.
    snapshot = Snapshot(
        hosts=(host("g"), host("h")),
        clusters=(cluster("a"), cluster(size=Size(3.0, 2 * GIB))),
        nodes=(*busy("first", 2, on="a", at="g"), *busy("second", 2, on="a", at="h")),
        running=(
            Running("first", "a", "u", ends_in_seconds=600.0),
            Running("second", "a", "u", ends_in_seconds=700.0),
        ),
        queue=(gang("wide"),),
    )
    lasts = {"first": Lasts(600.0, 900.0), "second": Lasts(700.0, 900.0)}
    found = forecast(snapshot, plan(snapshot).waiting, lasts)
    assert found["wide"].longest >= 600.0


@pytest.mark.parametrize(
    "snapshot",
    [
        pytest.param(
            Snapshot(
                hosts=(host("g"), replace(host("h"), takes_work=False)),
                clusters=(cluster(max_nodes=8),),
                queue=(gang("wide", 8),),
            ),
            id="a host is away",
        ),
        pytest.param(
            Snapshot(
                hosts=(host(),),
                clusters=(cluster("a", min_nodes=2), cluster()),
                nodes=(Node("n", "a", "h", 0, SMALL), Node("m", "a", "h", 1, SMALL)),
                queue=(gang("wide", 4),),
            ),
            id="nodes of a minimum are in the way",
        ),
    ],
)
def test_what_nothing_that_ends_can_help_has_no_late_end(snapshot: Snapshot) -> None:
    assert forecast(snapshot, plan(snapshot).waiting, {})["wide"].longest == inf


def test_what_waits_for_somebody_to_change_something_has_no_estimate() -> None:
    disabled = replace(cluster(), is_enabled=False)
    snapshot = Snapshot(hosts=(host(),), clusters=(disabled,), queue=(gang("a"),))
    assert forecast(snapshot, plan(snapshot).waiting, {}) == {}
