"""How attempts end, and the table of states."""

from itertools import product
from typing import Any

import pytest

from app.runs.decide import NodeView, is_silent, lost_nodes, outcome
from app.runs.finalizing import merge_outputs
from app.runs.states import TERMINAL, TRANSITIONS, Status

ORDER = [
    Status.NOT_STARTED,
    Status.STARTING,
    Status.PREPARING,
    Status.QUEUED,
    Status.RUNNING,
    Status.FINALIZING,
    Status.CANCEL_REQUESTED,
    Status.COMPLETED,
    Status.FAILED,
    Status.CANCELED,
]


def node(index: int = 0, state: str = "Finished", **more: Any) -> NodeView:
    defaults = {"is_alive": None, "heartbeat_age_seconds": 1.0, "result": None}
    return NodeView(index=index, state=state, **{**defaults, **more})


def exited(code: int | None, *, signal: str | None = None, ended_at: float = 1.0) -> dict[str, Any]:
    process = {"exit_code": code, "signal": signal, "ended_at": ended_at, "last_lines": ["boom"]}
    return {"processes": [process], "reason": None}


@pytest.mark.parametrize(("before", "after"), list(product(Status, Status)))
def test_states_only_move_forward_but_for_not_responding(before: Status, after: Status) -> None:
    if after not in TRANSITIONS[before]:
        return
    assert before not in TERMINAL
    if Status.NOT_RESPONDING not in (before, after):
        assert ORDER.index(after) > ORDER.index(before)


def test_every_state_that_is_not_terminal_can_end() -> None:
    reachable = {status: set(TRANSITIONS[status]) for status in Status}
    for _ in Status:
        for status in Status:
            reachable[status] |= {s for n in reachable[status] for s in reachable[n]}
    for status in set(Status) - TERMINAL:
        assert reachable[status] >= {Status.CANCELED}


def test_exit_code_zero_completes() -> None:
    assert outcome([node(result=exited(0))], is_cancel_requested=False).status is Status.COMPLETED


def test_the_first_failure_in_time_is_named() -> None:
    nodes = [
        node(0, result=exited(1, ended_at=9.0)),
        node(1, result=exited(7, ended_at=3.0)),
    ]
    end = outcome(nodes, is_cancel_requested=False)
    assert end.status is Status.FAILED
    assert end.error is not None
    assert (end.error["node"], end.error["exit_code"]) == ("node 1", 7)
    assert end.error["last_lines"] == ["boom"]


def test_a_signal_is_reported_by_name() -> None:
    end = outcome([node(result=exited(None, signal="SIGKILL"))], is_cancel_requested=False)
    assert end.error is not None
    assert end.error["signal"] == "SIGKILL"
    assert "SIGKILL" in end.error["message"]


def test_an_accepted_cancel_wins_over_a_clean_exit() -> None:
    assert outcome([node(result=exited(0))], is_cancel_requested=True).status is Status.CANCELED


def test_too_long_is_canceled_and_says_so() -> None:
    result = {"processes": [], "reason": "max_duration"}
    end = outcome([node(result=result)], is_cancel_requested=False)
    assert end.status is Status.CANCELED
    assert end.error is not None
    assert end.error["code"] == "max_run_duration_exceeded"


def test_inputs_that_do_not_match_fail_the_run() -> None:
    failed = {"failed": {"code": "digest_mismatch", "message": "data.gz is not what it was"}}
    end = outcome([node(state="Failed", result=failed)], is_cancel_requested=False)
    assert end.status is Status.FAILED
    assert end.error is not None
    assert end.error["code"] == "digest_mismatch"


def test_a_dead_runner_is_lost_unless_it_had_finished() -> None:
    views = [
        node(0, "Running", is_alive=False),
        node(1, "Finished", is_alive=False),
        node(2, "Assigned", is_alive=False),
        node(3, "Running", is_alive=True),
    ]
    assert lost_nodes(views) == [0]


def test_silence_is_noticed_only_of_nodes_that_should_report() -> None:
    assert is_silent([node(0, "Running", heartbeat_age_seconds=40.0)], timeout_seconds=30.0)
    assert not is_silent([node(0, "Finished", heartbeat_age_seconds=40.0)], timeout_seconds=30.0)
    assert not is_silent([node(0, "Launched", heartbeat_age_seconds=None)], timeout_seconds=30.0)


def file(path: str, sha256: str) -> dict[str, Any]:
    return {"path": path, "sha256": sha256, "size_bytes": 1}


def test_all_nodes_write_to_outputs_and_nothing_is_lost() -> None:
    merged = merge_outputs(
        [
            [file("outputs/model", "a"), file("outputs/same", "s")],
            [file("outputs/model", "b"), file("outputs/same", "s"), file("outputs/own", "c")],
        ]
    )
    assert {path: f["sha256"] for path, f in merged.items()} == {
        "outputs/model": "a",
        "nodes/1/outputs/model": "b",
        "outputs/same": "s",
        "outputs/own": "c",
    }
