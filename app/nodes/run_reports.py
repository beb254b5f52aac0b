"""What a run's node reports, in the form in which it is kept."""

import signal
from typing import Any

from app.nodes.schemas import NodeEvent, ProcessReport
from app.runs import gang
from app.runtimes.tasks import on_node
from app.tables.run import Run, RunNode


def noted_end(result: dict[str, Any] | None, event: NodeEvent) -> dict[str, Any]:
    """The node's result with the end of one of its processes, others of which go on."""
    before = result or {}
    end = event.model_dump(include={"exit_code", "stopped", "ended_at"})
    ended = {**before.get("ended", {}), str(event.place): end}
    return {**before, "ended": ended}


def exit_result(run: Run, node: RunNode, event: NodeEvent) -> dict[str, Any]:
    """The node's result when all of its processes have ended, each with its rank and role."""
    tasks = on_node(gang.tasks_of(run), node.node_index)
    processes = [_process(item) for item in event.processes]
    for task, process in zip(tasks, processes, strict=False):
        process |= {"rank": task.rank, "role": task.role}
        if gang.is_gang(run):
            process["role_index"] = task.index
    result = {"processes": processes, "reason": event.reason}
    if event.helpers:
        result["helpers"] = [_process(item) for item in event.helpers]
    return result


def _process(report: ProcessReport) -> dict[str, Any]:
    return {**report.model_dump(), "signal": _signal_name(report.signal)}


def _signal_name(number: int | None) -> str | None:
    if not number:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
