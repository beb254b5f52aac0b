"""Whether a run hangs, as far as one can tell from its silence: pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.runtimes.tasks import Task, on_node

SILENT = "silent"


@dataclass(frozen=True)
class Heard:
    """What a node's last heartbeat said.

    Attributes:
        node_index: the node.
        age_seconds: how long ago it came.
        quiet: as in the node's row; None: it runs no scripts now, or has not said yet.
    """

    node_index: int
    age_seconds: float
    quiet: dict[str, Any] | None


def silence(
    tasks: Sequence[Task], heard: Sequence[Heard], *, timeout_seconds: float, now: datetime
) -> dict[str, Any] | None:
    """The error of a run that hangs; None when it does not, or nobody can say.

    One process alone may be silent for good: often only rank 0 prints, and parameter servers never
    do. A run hangs when all of its processes have been silent for so long, each node's metrics and
    log files included.

    Args:
        tasks: all processes of the run.
        heard: all nodes of the attempt.
        timeout_seconds: how long a run may be silent.
        now: this moment, by the clock that the ages are measured with.
    """
    if not heard or any(node.quiet is None for node in heard):
        return None
    if min(_node_seconds(node) for node in heard) < timeout_seconds:
        return None
    silent = sorted(
        (
            {
                "rank": task.rank,
                "role": task.role,
                "node": f"node {node.node_index}",
                "since": (now - timedelta(seconds=seconds + node.age_seconds)).isoformat(),
            }
            for node in heard
            for task, seconds in _running(tasks, node)
        ),
        key=lambda process: str(process["since"]),
    )
    if not silent:
        return None
    first = silent[0]
    message = (
        f"Nothing was printed or logged for {timeout_seconds:g} s; the first to fall silent was "
        f"rank {first['rank']} ({first['role']}, {first['node']}), at {first['since']}."
    )
    where = {name: first[name] for name in ("rank", "role", "node")}
    return {"code": SILENT, "message": message, **where, "silent": silent}


def _running(tasks: Sequence[Task], node: Heard) -> list[tuple[Task, float]]:
    processes = (node.quiet or {}).get("processes", [])
    pairs = zip(on_node(tasks, node.node_index), processes, strict=False)
    return [(task, seconds) for task, seconds in pairs if seconds is not None]


def _node_seconds(node: Heard) -> float:
    return float((node.quiet or {}).get("node", 0.0))
