"""Which processes a run has, and on which of its nodes each one runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.runtimes.distribution import Distribution, Mpi, MultiWorker, ParameterServer, PyTorch

SINGLE_STREAM = "user_logs/std_log.txt"


class CountsRefused(ValueError):
    """The counts of nodes and processes do not go together; the message says why."""


@dataclass(frozen=True)
class Task:
    """One process of a run.

    Attributes:
        node_index: the node that it runs on.
        rank: its number among all, 0 first.
        role: chief, worker, ps, evaluator or process.
        index: its number within its role.
        is_essential: whether the run waits for its end; the others never end by themselves,
            and are ended when the essential ones are done.
        is_member: whether it listens, and the others know it by its address.
        stream: the log stream of what it prints.
    """

    node_index: int
    rank: int
    role: str
    index: int
    is_essential: bool
    is_member: bool
    stream: str


def plan_tasks(
    distribution: Distribution | None, *, node_count: int, process_count_per_node: int = 1
) -> list[Task]:
    """All processes of a run by rank; the same arguments give the same list.

    Rank 0, whose outputs win, is on node 0; roles share nodes when there are more processes.

    Raises:
        CountsRefused: the counts do not go together.
    """
    if isinstance(distribution, ParameterServer):
        roles = _parameter_server_roles(distribution)
    elif isinstance(distribution, MultiWorker):
        roles = [("worker", True)] * (distribution.worker_count or node_count)
    elif isinstance(distribution, PyTorch):
        return _ranks(distribution.process_count, node_count, process_count_per_node)
    elif isinstance(distribution, Mpi):
        per_node = distribution.process_count_per_node
        count = None if per_node is None else node_count * per_node
        return _ranks(count, node_count, process_count_per_node)
    else:
        roles = [("worker", True)] * node_count
    if process_count_per_node > 1:
        raise CountsRefused("More than one process per node needs the distribution pytorch or mpi.")
    if len(roles) < node_count:
        message = f"{node_count} nodes are too many for {len(roles)} processes."
        raise CountsRefused(message)
    seen: dict[str, int] = {}
    tasks = []
    for rank, (role, is_essential) in enumerate(roles):
        index = seen[role] = seen.get(role, -1) + 1
        tasks.append(
            Task(
                node_index=rank % node_count,
                rank=rank,
                role=role,
                index=index,
                is_essential=is_essential,
                is_member=distribution is not None and role != "evaluator",
                stream=_stream(role, index, len(roles)),
            )
        )
    return tasks


def on_node(tasks: Sequence[Task], node_index: int) -> list[Task]:
    """The processes of one node, in the order in which it starts and reports them."""
    return [task for task in tasks if task.node_index == node_index]


def port_count(distribution: Distribution | None, tasks: Sequence[Task], node_index: int) -> int:
    """How many ports the node has to keep free for its processes."""
    if isinstance(distribution, PyTorch):
        return 1 if node_index == 0 else 0
    if isinstance(distribution, Mpi):
        return 1
    return sum(task.is_member for task in on_node(tasks, node_index))


def _parameter_server_roles(distribution: ParameterServer) -> list[tuple[str, bool]]:
    roles = [("chief", True)] if distribution.chief else []
    # Under a coordinator the workers are servers too, which never end by themselves.
    roles += [("worker", not distribution.chief)] * distribution.worker_count
    roles += [("evaluator", True)] if distribution.evaluator else []
    return roles + [("ps", False)] * distribution.parameter_server_count


def _ranks(count: int | None, node_count: int, per_node: int) -> list[Task]:
    count = count or node_count * per_node
    if count % node_count:
        raise CountsRefused(f"{count} processes cannot be spread evenly over {node_count} nodes.")
    if per_node > 1 and count != node_count * per_node:
        message = f"The distribution has {count} processes, process_count_per_node {per_node}."
        raise CountsRefused(message)
    return [
        Task(
            node_index=rank // (count // node_count),
            rank=rank,
            role="process",
            index=rank,
            is_essential=True,
            is_member=False,
            stream=_stream("process", rank, count),
        )
        for rank in range(count)
    ]


def _stream(role: str, index: int, count: int) -> str:
    return SINGLE_STREAM if count == 1 else f"user_logs/std_log_{role}_{index}.txt"
