"""The processes of an attempt, each with what became of it: pure functions of its rows."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from app.runs import gang
from app.runs.silence import SILENT
from app.runtimes.tasks import Task
from app.tables.run import RunNode


class ProcessState(StrEnum):
    """What a process is doing."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"
    STOPPED = "stopped"
    LOST = "lost"


class ProcessRead(BaseModel):
    """One process of an attempt."""

    rank: int
    role: str
    index: int = Field(description="Its number within its role")
    node: str
    stream: str = Field(description="What it prints is in this stream of the run's logs")
    state: ProcessState = Field(
        description="ended: by itself; stopped: it was told to end; lost: with its node"
    )
    exit_code: int | None = None
    signal: str | None = None
    out_of_memory: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    stopped_because: str | None = Field(default=None, description="Of one that was stopped")


def processes_of(
    tasks: Sequence[Task], nodes: Sequence[RunNode], *, error: dict[str, Any] | None
) -> list[ProcessRead]:
    """All processes of an attempt by rank.

    Args:
        tasks: which there are.
        nodes: of the attempt.
        error: of the attempt.
    """
    places = {node.node_index: node for node in nodes}
    ends = {task.rank: end for task, end in gang.reported(tasks, nodes)}
    return [
        _read(task, places.get(task.node_index), ends.get(task.rank), tasks, nodes, error)
        for task in tasks
    ]


def _read(
    task: Task,
    node: RunNode | None,
    end: dict[str, Any] | None,
    tasks: Sequence[Task],
    nodes: Sequence[RunNode],
    error: dict[str, Any] | None,
) -> ProcessRead:
    found = end or {}
    state = _state(node, end)
    because = None
    if node is not None and state is ProcessState.STOPPED:
        because = _because(node, tasks, nodes, error)
    return ProcessRead(
        rank=task.rank,
        role=task.role,
        index=task.index,
        node=f"node {task.node_index}",
        stream=task.stream,
        state=state,
        exit_code=found.get("exit_code"),
        signal=found.get("signal") if isinstance(found.get("signal"), str) else None,
        out_of_memory=bool(found.get("oom")),
        started_at=_moment(found.get("started_at")),
        ended_at=_moment(found.get("ended_at")),
        stopped_because=because,
    )


def _state(node: RunNode | None, end: dict[str, Any] | None) -> ProcessState:
    if end is not None:
        return ProcessState.STOPPED if end.get("stopped") else ProcessState.ENDED
    if node is None or node.state in ("Assigned", "Launched", "Ready"):
        return ProcessState.WAITING
    if node.state == "Lost":
        return ProcessState.LOST
    if node.state in gang.OVER:
        return ProcessState.STOPPED  # before it had begun
    return ProcessState.RUNNING


def _because(
    node: RunNode, tasks: Sequence[Task], nodes: Sequence[RunNode], error: dict[str, Any] | None
) -> str:
    reason = (node.result or {}).get("reason")
    if reason == gang.PEERS_DONE:
        return "the processes that the run waits for had ended"
    if reason == SILENT:
        return str((error or {}).get("message", "the run was silent"))
    if reason == "max_duration":
        return "the run took longer than max_run_duration_seconds"
    if any(gang.has_failed_by_itself(each) for each in nodes):
        return gang.first_failure(tasks, nodes)
    return "the run was asked to end"


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
