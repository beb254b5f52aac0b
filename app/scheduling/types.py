"""What the planner sees and what it says: plain values, no database, no clock."""

from dataclasses import dataclass, field
from enum import StrEnum


class Reason(StrEnum):
    """Why a gang is not placed."""

    LARGER_THAN_CLUSTER = "larger_than_cluster"
    CLUSTER_GROWING = "cluster_growing"
    NO_CAPACITY_NOW = "no_capacity_now"
    BEHIND_RUN = "behind_run"


@dataclass(frozen=True)
class Node:
    """A node of the cluster.

    Attributes:
        id: its id.
        index: its number within the cluster.
        is_idle: whether it can be given work now.
        idle_seconds: how long it has been idle.
        is_usable: whether its host takes work; an idle node elsewhere goes.
    """

    id: str
    index: int
    is_idle: bool
    idle_seconds: float = 0.0
    is_usable: bool = True


@dataclass(frozen=True)
class Gang:
    """A run that needs so many nodes at once.

    Attributes:
        run_id: the run.
        node_count: nodes it needs, all together or none.
        queued_order: place in the queue: lower is earlier.
    """

    run_id: str
    node_count: int
    queued_order: tuple[float, str]


@dataclass(frozen=True)
class Snapshot:
    """A cluster at one moment.

    Attributes:
        nodes: all nodes that exist.
        queue: gangs that wait.
        min_nodes: never fewer.
        max_nodes: never more.
        idle_seconds_before_scaledown: an idle node beyond the minimum goes after so long.
        addable_node_count: how many more nodes the provider has room for now.
    """

    nodes: tuple[Node, ...]
    queue: tuple[Gang, ...]
    min_nodes: int
    max_nodes: int
    idle_seconds_before_scaledown: float
    addable_node_count: int


@dataclass(frozen=True)
class Waiting:
    """A gang that was not placed, and why.

    Attributes:
        run_id: the run.
        position: 1 is the head of the queue.
        reason: what is in the way.
        behind_run_id: the run ahead of it, for ``behind_run``.
    """

    run_id: str
    position: int
    reason: Reason
    behind_run_id: str = ""


@dataclass(frozen=True)
class Plan:
    """What should be done.

    Attributes:
        placed: run id → ids of the nodes it gets.
        waiting: every gang that is not placed, in the order of the queue.
        add_node_count: nodes to be added.
        remove_node_ids: idle nodes to be removed.
        target_node_count: nodes there should be in the end.
    """

    placed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    waiting: tuple[Waiting, ...] = ()
    add_node_count: int = 0
    remove_node_ids: tuple[str, ...] = ()
    target_node_count: int = 0
