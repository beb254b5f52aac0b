"""Nothing starves: whatever comes later, everybody starts after a bounded time."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scheduling.planner import plan
from app.scheduling.types import Gang, Limits, Node, Policy, Running, Snapshot
from tests.scheduling.snapshots import SMALL, cluster, host

_CYCLE_SECONDS, _AGEING_SECONDS, _LONGEST_SECONDS = 10.0, 10.0, 60.0
_MOST_PRIORITY = 20
_MOST_SECONDS_AHEAD = _MOST_PRIORITY * _AGEING_SECONDS
# All that comes before it is ahead of whatever comes may have to run first, one after the other.
_BOUND_SECONDS = _MOST_SECONDS_AHEAD + 2 * (_MOST_SECONDS_AHEAD / _CYCLE_SECONDS + 2) * (
    _LONGEST_SECONDS + _CYCLE_SECONDS
)


class _Arrival:
    """A run that comes, and takes so long."""

    def __init__(self, gang: Gang, at: float, takes: float) -> None:
        self.gang, self.at, self.takes = gang, at, takes


def _waits(snapshot: Snapshot, watched: Gang, newcomers: list[tuple[int, int, float]]) -> float:
    """How long a gang waits among newcomers of width, priority and duration, again and again."""
    waiting = {watched.run_id: _Arrival(watched, 0.0, 10.0)}
    running: dict[str, tuple[_Arrival, float, tuple[Node, ...]]] = {}
    now, number = 0.0, 0
    while now <= _BOUND_SECONDS:
        running = {name: item for name, item in running.items() if item[1] > now}
        for _ in range(2):
            width, priority, takes = newcomers[number % len(newcomers)]
            new = Gang(f"new-{number}", "c", "other", width, 0.0, priority, takes)
            waiting[new.run_id] = _Arrival(new, now, takes)
            number += 1
        decision = plan(
            replace(
                snapshot,
                nodes=tuple(node for _, _, nodes in running.values() for node in nodes),
                running=tuple(
                    Running(
                        name, "c", item.gang.user_id, item.gang.priority,
                        ends_in_seconds=end - now,
                    )
                    for name, (item, end, _) in running.items()
                ),
                queue=tuple(
                    item.gang._replace(queued_seconds=now - item.at) for item in waiting.values()
                ),
            )
        )  # fmt: skip
        if watched.run_id in decision.placed:
            return now
        for name, placement in decision.placed.items():
            item = waiting.pop(name)
            nodes = tuple(
                Node(f"{name}-{index}", "c", place.host, number * 10 + index, SMALL, run_id=name)
                for index, place in enumerate(placement.new)
            )
            running[name] = (item, now + item.takes, nodes)
        now += _CYCLE_SECONDS
    raise AssertionError(f"it still waits after {_BOUND_SECONDS} s")


_NEWCOMERS = st.lists(
    st.tuples(
        st.integers(1, 3), st.integers(0, _MOST_PRIORITY), st.sampled_from((10.0, 35.0, 60.0))
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("limited", ["hosts", "cluster", "workspace", "user"])
@settings(max_examples=12, deadline=None)
@given(newcomers=_NEWCOMERS)
def test_a_wide_gang_starts_in_the_end_whoever_comes(
    limited: str, newcomers: list[tuple[int, int, float]]
) -> None:
    # Four nodes at a time, and it needs all of them; it may run for ever, so it cannot slip in.
    snapshot = Snapshot(
        hosts=(host(cores=4.0 if limited == "hosts" else 64.0),),
        clusters=(
            cluster(max_nodes=4 if limited == "cluster" else 64, idle_seconds_before_scaledown=0.0),
        ),
        workspace_limits={"workspace of c": Limits(nodes=4.0)} if limited == "workspace" else {},
        user_limits={"other": Limits(nodes=4.0)} if limited == "user" else {},
        policy=Policy(ageing_seconds=_AGEING_SECONDS),
    )
    wide = Gang("wide", "c", "other", 4, 0.0, 0)

    assert _waits(snapshot, wide, newcomers) <= _BOUND_SECONDS
