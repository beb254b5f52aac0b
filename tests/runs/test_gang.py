"""What the nodes of an attempt are told, from what all of them have reported."""

from typing import Any

import pytest

from app.runs.decide import NodeView, outcome
from app.runs.gang import Verdict, first_failure, verdict
from app.runs.states import Status
from app.runtimes.distribution import parse
from app.runtimes.tasks import plan_tasks
from app.tables.run import RunNode

PS = parse({"type": "parameter_server", "worker_count": 1, "parameter_server_count": 1})
TASKS = plan_tasks(PS, node_count=2)
CLEAN = {"exit_code": 0, "stopped": False}
BAD = {"exit_code": 3, "stopped": False}
TOLD = {"exit_code": None, "signal": "SIGTERM", "stopped": True}


def node(index: int, state: str, result: dict[str, Any] | None = None) -> RunNode:
    return RunNode(name=f"n{index}", node_index=index, state=state, result=result, ports=[])


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("Ready", "Launched"), Verdict.NOT_READY),
        (("Ready", "Ready"), Verdict.GO),
        (("Running", "Ready"), Verdict.GO),
        (("Ready", "Failed"), Verdict.FAILED),
        (("Running", "Lost"), Verdict.FAILED),
    ],
)
def test_all_start_together_or_none(states: tuple[str, str], expected: Verdict) -> None:
    nodes = [node(index, state) for index, state in enumerate(states)]
    assert verdict(TASKS, nodes) is expected


def test_a_parameter_server_is_done_when_the_worker_is() -> None:
    worker = node(0, "Exited", {"processes": [CLEAN], "reason": None})
    assert verdict(TASKS, [worker, node(1, "Running")]) is Verdict.DONE


def test_processes_that_share_a_node_are_told_apart() -> None:
    tasks = plan_tasks(PS, node_count=1)
    for place, expected in (("0", Verdict.DONE), ("1", Verdict.GO)):
        found = node(0, "Running", {"ended": {place: CLEAN}})
        assert verdict(tasks, [found]) is expected
    assert verdict(tasks, [node(0, "Running", {"ended": {"1": BAD}})]) is Verdict.FAILED


def test_those_who_are_stopped_are_told_because_of_whom() -> None:
    late, early = {**BAD, "ended_at": 9.0}, {**BAD, "exit_code": 7, "ended_at": 3.0}
    worker = node(0, "Running", {"ended": {"0": late}})
    server = node(1, "Exited", {"processes": [early], "reason": None})
    assert first_failure(TASKS, [worker, server]) == "rank 1 (ps 0, node 1) exited with code 7"
    assert first_failure(TASKS, [worker, node(1, "Lost")]).startswith("rank 0 (worker 0, node 0)")
    assert first_failure(TASKS, [node(0, "Ready"), node(1, "Failed")]) == "node 1 failed"


def view(index: int, *processes: dict[str, Any], reason: str | None = None) -> NodeView:
    result = {"processes": list(processes), "reason": reason}
    return NodeView(index, "Finished", None, 1.0, result)


def test_one_that_was_told_to_end_counts_as_fine() -> None:
    views = [view(0, CLEAN), view(1, TOLD, reason="peers_done")]
    assert outcome(views, is_cancel_requested=False).status is Status.COMPLETED


def test_one_that_was_told_to_end_is_not_the_reason() -> None:
    early, late = {**TOLD, "ended_at": 1.0}, {**BAD, "ended_at": 2.0, "rank": 5, "role": "ps"}
    views = [view(0, early, reason="peer_failed"), view(1, late)]
    end = outcome(views, is_cancel_requested=False)
    assert end.error is not None
    assert (end.error["rank"], end.error["role"], end.error["exit_code"]) == (5, "ps", 3)


def test_a_gang_that_was_stopped_never_completes() -> None:
    views = [view(0, reason="peer_failed"), view(1, reason="peer_failed")]
    assert outcome(views, is_cancel_requested=False).status is Status.FAILED


def test_a_launcher_that_fails_is_the_reason_only_where_no_rank_is() -> None:
    launcher = {"exit_code": 213, "stopped": False, "last_lines": ["no daemon"], "ended_at": 1.0}
    broken = view(0, TOLD, TOLD)
    assert broken.result is not None
    broken.result["helpers"] = [launcher]
    found = outcome([broken, view(1, TOLD, TOLD)], is_cancel_requested=False)
    assert found.error is not None
    assert found.error["code"] == "launch_failed"
    assert "no daemon" in found.error["message"]
    rank = view(1, {**BAD, "ended_at": 2.0, "rank": 1, "role": "process", "role_index": 1})
    named = outcome([broken, rank], is_cancel_requested=False).error
    assert named is not None
    assert (named["code"], named["rank"]) == ("process_failed", 1)
