"""How attempts end, and the table of states."""

from itertools import product
from typing import Any

import pytest

from app.runs.decide import (
    NodeView,
    hung_nodes,
    is_tried_again,
    lost_nodes,
    outcome,
    silent_nodes,
)
from app.runs.finalizing import merge_outputs, renamed_outputs
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


@pytest.mark.parametrize("state", ["Launched", "Ready", "Running", "Exited"])
def test_silence_is_noticed_of_every_node_that_should_report(state: str) -> None:
    views = [
        node(0, state, heartbeat_age_seconds=5.0),
        node(1, state, heartbeat_age_seconds=40.0),
        node(2, "Finished", heartbeat_age_seconds=40.0),
        node(3, state, heartbeat_age_seconds=None),
        node(4, state, heartbeat_age_seconds=31.0),
    ]
    assert silent_nodes(views, timeout_seconds=30.0) == [1, 4]


def test_a_node_hangs_only_while_it_could_report() -> None:
    views = [node(0, "Running", is_alive=True, heartbeat_age_seconds=700.0)]
    for open_seconds, expected in ((0.0, []), (599.0, []), (601.0, [0])):
        found = hung_nodes(views, timeout_seconds=600.0, could_report_seconds=open_seconds)
        assert found == expected


def test_a_lost_node_is_named_and_tried_again() -> None:
    why = {"code": "node_lost", "message": "The runner of node 1 went away.", "node": "node 1"}
    views = [node(0, result=exited(0)), node(1, "Lost")]
    end = outcome(views, is_cancel_requested=False, ended_because=why)
    assert (end.status, end.error) == (Status.FAILED, why)
    assert is_tried_again(end, retry_on=[])
    assert not is_tried_again(outcome(views, is_cancel_requested=True), retry_on=[])


def test_a_node_that_was_stopped_from_outside_is_tried_again() -> None:
    told = {"exit_code": None, "signal": "SIGTERM", "stopped": True}
    views = [
        node(0, result={"processes": [told], "reason": "peer_failed"}),
        node(1, result={"processes": [told], "reason": "stopped"}),
    ]
    end = outcome(views, is_cancel_requested=False)
    assert end.error is not None
    assert (end.error["code"], end.error["node"]) == ("node_lost", "node 1")
    assert is_tried_again(end, retry_on=[])
    assert outcome(views, is_cancel_requested=True).status is Status.CANCELED


@pytest.mark.parametrize(
    ("state", "result", "status"),
    [
        ("Running", None, Status.FAILED),
        ("Running", {"ended": {"0": {"exit_code": 0}}}, Status.FAILED),
        ("Exited", exited(0), Status.FAILED),
        ("Finished", {**exited(0), "reason": "stopped"}, Status.FAILED),
        ("Finished", exited(0), Status.COMPLETED),
    ],
)
def test_who_gives_way_begins_again_unless_all_of_it_was_delivered(
    state: str, result: dict[str, Any] | None, status: Status
) -> None:
    views = [node(0, result=exited(0)), node(1, state, result=result)]
    end = outcome(views, is_cancel_requested=False, gives_way_because="It had to.")
    assert end.status is status
    assert is_tried_again(end, retry_on=[]) is (status is Status.FAILED)


@pytest.mark.parametrize(
    ("retry_on", "expected"),
    [([], False), (["out_of_memory"], False), (["silent", "process_failed"], True)],
)
def test_a_failure_of_the_script_is_tried_again_only_where_asked(
    retry_on: list[str], expected: bool
) -> None:
    end = outcome([node(result=exited(1))], is_cancel_requested=False)
    assert is_tried_again(end, retry_on=retry_on) is expected


def test_a_run_that_was_ended_for_its_silence_says_so() -> None:
    why = {"code": "silent", "message": "Nothing was printed or logged for 9 s."}
    told = {"exit_code": None, "signal": "SIGKILL", "stopped": True}
    ended = node(0, result={"processes": [told], "reason": "silent"})
    assert outcome([ended], is_cancel_requested=False, ended_because=why).error == why
    # It came to its end in the moment in which it was given up.
    done = outcome([node(result=exited(0))], is_cancel_requested=False, ended_because=why)
    assert done.status is Status.COMPLETED


def file(path: str, sha256: str) -> dict[str, Any]:
    return {"path": path, "sha256": sha256, "size_bytes": 1}


def test_all_nodes_write_to_outputs_and_nothing_is_lost() -> None:
    merged = merge_outputs(
        [
            [file("outputs/model", "a"), file("outputs/same", "s")],
            [file("outputs/model", "b"), file("outputs/same", "s"), file("outputs/own", "c")],
        ],
        taken={},
    )
    assert {path: f["sha256"] for path, f in merged.items()} == {
        "outputs/model": "a",
        "nodes/1/outputs/model": "b",
        "outputs/same": "s",
        "outputs/own": "c",
    }


def test_what_was_uploaded_keeps_its_name_and_what_was_collected_is_kept_beside_it() -> None:
    merged = merge_outputs(
        [[file("outputs/model", "b"), file("outputs/same", "s")], [file("outputs/model", "c")]],
        taken={"outputs/model": "a", "outputs/same": "s", "nodes/1/outputs/model": "d"},
    )
    assert {path: f["sha256"] for path, f in merged.items()} == {
        "nodes/0/outputs/model": "b",
        "nodes/1/nodes/1/outputs/model": "c",
    }


@pytest.mark.parametrize("nodes", [["a", "b"], ["b", "a"]])
def test_of_what_was_uploaded_it_is_told_where_any_node_has_something_else(
    nodes: list[str],
) -> None:
    manifests = [[file("outputs/model", sha256), file("outputs/own", "c")] for sha256 in nodes]
    taken = {"outputs/model": "a", "outputs/other": "d"}
    assert renamed_outputs(manifests, taken) == ["outputs/model"]
    assert renamed_outputs([[file("outputs/model", "a")]], taken) == []
