"""Decisions about a run: pure functions of what was loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.runs.silence import SILENT
from app.runs.states import Status


@dataclass(frozen=True)
class NodeView:
    """What is known of a node of the current attempt.

    Attributes:
        index: its number, 0 first.
        state: as in its row.
        is_alive: whether the provider sees it; None when nobody asked.
        heartbeat_age_seconds: since the last heartbeat; None before the first.
        result: what the runner reported at the end.
        host_trouble: why its host is down, as those say who watch it; empty: it is not.
    """

    index: int
    state: str
    is_alive: bool | None
    heartbeat_age_seconds: float | None
    result: dict[str, Any] | None
    host_trouble: str = ""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        status: terminal status of the run.
        error: why, unless it completed.
    """

    status: Status
    error: dict[str, Any] | None = None


NODE_LOST = "node_lost"
PREEMPTED = "preempted"
WORKER_DIED = "worker_died"
_LAST = float("inf")
FINISHED_STATES = frozenset({"Finished", "Failed", "Lost"})


def lost_nodes(nodes: Sequence[NodeView]) -> list[int]:
    """Indices of nodes that went away without having finished."""
    return [
        node.index
        for node in nodes
        if node.is_alive is False and node.state not in FINISHED_STATES | {"Assigned"}
    ]


def silent_nodes(nodes: Sequence[NodeView], *, timeout_seconds: float) -> list[int]:
    """Indices of nodes that should report and have not done so for too long."""
    return [
        node.index
        for node in nodes
        if node.state not in FINISHED_STATES
        and node.heartbeat_age_seconds is not None
        and node.heartbeat_age_seconds > timeout_seconds
    ]


def nodes_of_lost_hosts(nodes: Sequence[NodeView], *, timeout_seconds: float) -> list[int]:
    """Indices of nodes whose hosts are down, and which are silent themselves for too long."""
    silent = silent_nodes(nodes, timeout_seconds=timeout_seconds)
    return [
        node.index
        for node in nodes
        if node.host_trouble
        and node.state not in FINISHED_STATES
        and (node.index in silent or node.heartbeat_age_seconds is None)
    ]


def hung_nodes(
    nodes: Sequence[NodeView], *, timeout_seconds: float, could_report_seconds: float
) -> list[int]:
    """Indices of nodes that are given up: alive, perhaps, but silent for too long.

    Args:
        nodes: all nodes of the attempt.
        timeout_seconds: how long a node may be silent.
        could_report_seconds: for how long the control plane has been there to be told; a node
            that could not report is not to blame.
    """
    if could_report_seconds <= timeout_seconds:
        return []
    return silent_nodes(nodes, timeout_seconds=timeout_seconds)


def is_tried_again(end: Outcome, *, retry_on: Sequence[str]) -> bool:
    """Whether the end of an attempt calls for another one.

    A lost node, and having had to give nodes up, always do; what the script did to itself, only
    where the request says so.

    Args:
        end: how the attempt ended.
        retry_on: codes of errors of the script.
    """
    code = (end.error or {}).get("code")
    return end.status == Status.FAILED and (code in (NODE_LOST, PREEMPTED) or code in retry_on)


def outcome(
    nodes: Sequence[NodeView],
    *,
    is_cancel_requested: bool,
    ended_because: dict[str, Any] | None = None,
    gives_way_because: str | None = None,
) -> Outcome:
    """How an attempt ended whose nodes are all gone.

    The exit codes decide, whatever a client library said before. A cancel that was accepted
    wins over everything that happened after it.

    Args:
        nodes: all nodes of the attempt; where it was to end, some may not have finished.
        is_cancel_requested: whether the run is being canceled.
        ended_because: the error for which the control plane had the attempt ended.
        gives_way_because: why it had to give up its nodes; None: it had not to.
    """
    if is_cancel_requested:
        return Outcome(Status.CANCELED)
    if gives_way_because and any(_was_stopped(node) for node in nodes):
        return Outcome(Status.FAILED, {"code": PREEMPTED, "message": gives_way_because})
    if any(node.state == "Lost" for node in nodes):
        message = "A node of the run was lost."
        return Outcome(Status.FAILED, ended_because or {"code": NODE_LOST, "message": message})
    if ended_because and any((node.result or {}).get("reason") == SILENT for node in nodes):
        return Outcome(Status.FAILED, ended_because)
    failures = [found for node in nodes if (found := _failure(node)) is not None]
    if not failures:
        if any((node.result or {}).get("reason") == "peer_failed" for node in nodes):
            message = "The nodes were stopped because one of them had failed."
            return Outcome(Status.FAILED, {"code": "process_failed", "message": message})
        return Outcome(Status.COMPLETED)
    first = min(failures, key=lambda f: f.pop("_at"))
    status = Status.CANCELED if first["code"] == "max_run_duration_exceeded" else Status.FAILED
    for other in failures:
        other.pop("_at", None)
    return Outcome(status, first)


def _was_stopped(node: NodeView) -> bool:
    # One that was stopped before its script began has said nothing at all; one that was still
    # delivering has not said all.
    is_over = node.state in FINISHED_STATES
    return not is_over or not node.result or node.result.get("reason") == "stopped"


def _failure(node: NodeView) -> dict[str, Any] | None:
    result = node.result or {}
    if result.get("failed"):
        failed = result["failed"]
        where = f"node {node.index}"
        return {"code": failed["code"], "message": failed["message"], "node": where, "_at": 0.0}
    reason = result.get("reason")
    if reason == "max_duration":
        message = "The run took longer than max_run_duration_seconds and was stopped."
        return {"code": "max_run_duration_exceeded", "message": message, "_at": 0.0}
    if reason == "stopped":
        # By hand, or because its engine or its machine was shut down: not the script's doing.
        message = f"Node {node.index} was stopped from outside."
        return {"code": NODE_LOST, "message": message, "node": f"node {node.index}", "_at": 0.0}
    bad = [
        process
        for process in result.get("processes", [])
        # One that was told to end because of another is not the reason.
        if process.get("exit_code") != 0 and not process.get("stopped")
    ]
    if not bad:
        return _launcher_failure(node)
    return _process_failure(node, min(bad, key=lambda item: item.get("ended_at") or 0.0))


def _process_failure(node: NodeView, process: dict[str, Any]) -> dict[str, Any]:
    signal = process.get("signal")
    how = f"was ended by {signal}" if signal else f"exited with code {process.get('exit_code')}"
    lines = process.get("last_lines") or []
    said = next((line for line in reversed(lines) if line.strip()), None)
    role, index = process.get("role"), process.get("role_index")
    who = "The script" if index is None else f"{role} {index} on node {node.index}"
    is_oom = bool(process.get("oom"))
    return {
        "code": "out_of_memory" if is_oom else "process_failed",
        "message": f"{who} {how}" + (f": {said}" if said else "."),
        "rank": process.get("rank", 0),
        "role": process.get("role", "worker"),
        "ended_at": _moment(process),
        "node": f"node {node.index}",
        "exit_code": process.get("exit_code"),
        "signal": signal,
        "last_lines": lines,
        "_at": process.get("ended_at") or 0.0,
    }


def _launcher_failure(node: NodeView) -> dict[str, Any] | None:
    """What started the ranks failed by itself; a rank that failed is the better reason."""
    for helper in (node.result or {}).get("helpers", []):
        signal, lines = helper.get("signal"), helper.get("last_lines") or []
        how = f"was ended by {signal}" if signal else f"exited with code {helper['exit_code']}"
        said = "; it said: " + " ".join(line.strip() for line in lines) if lines else ""
        return {
            "code": "launch_failed",
            "message": f"The launcher of the ranks on node {node.index} {how}{said}"[:2000],
            "node": f"node {node.index}",
            "exit_code": helper.get("exit_code"),
            "signal": signal,
            "ended_at": _moment(helper),
            "last_lines": lines,
            "_at": _LAST,
        }
    return None


def _moment(process: dict[str, Any]) -> str | None:
    at = process.get("ended_at")
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()
