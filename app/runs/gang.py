"""The nodes of an attempt as one: when they may start, when they are done, when they must stop."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.auth.signing import Signer
from app.runs.silence import SILENT
from app.runtimes.distribution import Distribution, Mpi, PyTorch, parse
from app.runtimes.launch import Host, environments, launch_hosts
from app.runtimes.tasks import Task, on_node, plan_tasks, port_count
from app.tables.run import Run, RunNode

TF_FIRST_PORT = 2222
TORCH_FIRST_PORT = 6105
LAUNCH_FIRST_PORT = 6205
REACH_SECONDS = 30.0
"""A node that has no answer from a peer for so long, although all are ready, does not start."""
PEERS_DONE = "peers_done"
PEER_FAILED = "peer_failed"
NOT_READY = frozenset({"Assigned", "Launched"})
OVER = frozenset({"Exited", "Finished", "Failed", "Lost"})
_ENDS_ALL = frozenset({"stopped", "max_duration", SILENT})


class Verdict(StrEnum):
    """What is true of all nodes together."""

    NOT_READY = "not_ready"
    GO = "go"
    DONE = "done"
    FAILED = "failed"


def distribution_of(run: Run) -> Distribution | None:
    """How the processes of a run work together."""
    return parse(run.request.get("distribution"))


def tasks_of(run: Run) -> list[Task]:
    """All processes of a run."""
    return plan_tasks(
        distribution_of(run),
        node_count=run.node_count,
        process_count_per_node=run.request.get("process_count_per_node", 1),
    )


def is_gang(run: Run) -> bool:
    """Whether its processes can be launched only when all nodes have said where they are."""
    return run.node_count > 1 or run.request.get("distribution") is not None


def port_order(run: Run, node_index: int) -> dict[str, int]:
    """Which ports a node has to keep free."""
    distribution = distribution_of(run)
    first = TF_FIRST_PORT
    if isinstance(distribution, PyTorch):
        first = TORCH_FIRST_PORT
    elif isinstance(distribution, Mpi):
        first = LAUNCH_FIRST_PORT
    return {"first": first, "count": port_count(distribution, tasks_of(run), node_index)}


def launch_order(
    run: Run, node: RunNode, signer: Signer, *, attempted_at: datetime
) -> dict[str, Any] | None:
    """What a node has to know of the launcher that starts its processes; None without one.

    Nodes call each other; the secret, by which they know each other, is the attempt's own.
    """
    distribution = distribution_of(run)
    if not isinstance(distribution, Mpi):
        return None
    secret = signer.derive("", f"launch {run.id} attempt {node.attempt}", at=attempted_at)
    kind = distribution.controller
    return {"kind": kind, "secret": secret, "is_first": node.node_index == 0}


def hosts_of(nodes: Sequence[RunNode]) -> list[Host]:
    """Where the nodes of an attempt are, by index, once all are ready."""
    return [Host(node.address or "127.0.0.1", node.ports) for node in nodes]


def launch_environments(run: Run, nodes: Sequence[RunNode], index: int) -> list[dict[str, str]]:
    """The environment of each process of a node, once all nodes are ready."""
    return environments(distribution_of(run), tasks_of(run), hosts_of(nodes), node_index=index)


def told_hosts(run: Run, nodes: Sequence[RunNode]) -> list[dict[str, Any]]:
    """What a launcher is told of the nodes; empty without one."""
    if not isinstance(distribution_of(run), Mpi):
        return []
    return launch_hosts(tasks_of(run), hosts_of(nodes))


def peers_of(nodes: Sequence[RunNode], index: int) -> list[dict[str, Any]]:
    """The other nodes that have not ended and keep a port, for a node to see if it reaches them."""
    own = nodes[index].address
    return [
        {"node": node.node_index, "address": node.address, "port": node.ports[0]}
        for node in nodes
        if node.node_index != index
        and node.state not in OVER
        and node.ports
        and node.address not in (None, own)
    ]


def verdict(tasks: Sequence[Task], nodes: Sequence[RunNode]) -> Verdict:
    """What the nodes of an attempt should do, from what each has reported."""
    if any(has_failed(node) for node in nodes):
        return Verdict.FAILED
    if any(node.state in NOT_READY for node in nodes):
        return Verdict.NOT_READY
    essential = [t for t in tasks if t.is_essential]
    ended = {task.rank for task, _ in reported(tasks, nodes)}
    is_done = all(task.rank in ended for task in essential)
    return Verdict.DONE if is_done else Verdict.GO


def has_failed(node: RunNode) -> bool:
    """Whether the node's end is one for all: it failed, or was told to end for its own reasons."""
    result = node.result or {}
    return result.get("reason") in _ENDS_ALL or has_failed_by_itself(node)


def has_failed_by_itself(node: RunNode) -> bool:
    """Whether the node could not start or was lost, or a process of it ended badly by itself."""
    result = node.result or {}
    if node.state in ("Failed", "Lost"):
        return True
    processes = [
        *result.get("processes", []),
        *result.get("ended", {}).values(),
        *result.get("helpers", []),
    ]
    return any(is_bad(process) for process in processes)


def first_failure(tasks: Sequence[Task], nodes: Sequence[RunNode]) -> str:
    """Which process or node failed first, for those who are stopped because of it."""
    bad = [
        (process.get("ended_at") or 0.0, task, process)
        for task, process in reported(tasks, nodes)
        if is_bad(process)
    ]
    if bad:
        _, task, process = min(bad, key=lambda item: item[0])
        code = process.get("exit_code")
        how = "was ended by a signal" if code is None else f"exited with code {code}"
        return f"rank {task.rank} ({task.role} {task.index}, node {task.node_index}) {how}"
    names = [f"node {node.node_index}" for node in nodes if has_failed(node)]
    return f"{', '.join(names)} failed"


def is_bad(process: dict[str, Any]) -> bool:
    """Whether a process ended other than with 0, without having been told to end."""
    return process.get("exit_code") != 0 and not process.get("stopped")


def are_all_over(nodes: Sequence[RunNode]) -> bool:
    """Whether no process of any node runs any more."""
    return all(node.state in OVER for node in nodes)


def reported(tasks: Sequence[Task], nodes: Sequence[RunNode]) -> list[tuple[Task, dict[str, Any]]]:
    """The processes that have ended, with what their nodes said of them."""
    found: list[tuple[Task, dict[str, Any]]] = []
    for node in nodes:
        own = on_node(tasks, node.node_index)
        result = node.result or {}
        ended = result.get("ended", {})
        processes = result.get("processes") or [ended.get(str(n)) for n in range(len(own))]
        found += [(t, p) for t, p in zip(own, processes, strict=False) if p is not None]
    return found
