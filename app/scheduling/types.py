"""What the planner sees and what it says: plain values, no database, no clock.

Times are seconds from the moment of the snapshot; ``math.inf`` is one that nobody knows a bound of.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why a gang is not placed."""

    LARGER_THAN_CLUSTER = "larger_than_cluster"
    LARGER_THAN_HOSTS = "larger_than_hosts"
    CLUSTER_DISABLED = "cluster_disabled"
    QUOTA = "quota"
    BUDGET = "budget"
    PREEMPTING = "preempting"
    NO_CAPACITY_NOW = "no_capacity_now"
    BEHIND_RUN = "behind_run"


class Size(NamedTuple):
    """What a node gets of its host, or nominally would."""

    cores: float
    memory_bytes: int
    gpus: int = 0


class Leaving(StrEnum):
    """Which runs have to leave a host."""

    NOBODY = "nobody"
    LOW_PRIORITY = "low_priority"
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class Host:
    """A machine, or an engine, that nodes are carved out of.

    Attributes:
        name: its name.
        total: everything that may be handed out, with what may be handed out twice counted so.
        node_limit: the most that a single node gets there; larger ones are cut down to it.
        gpu_ids: its GPUs; each is handed out once.
        takes_work: False while it is away or being drained.
        takes_new_nodes: False while nodes cannot be started there; those that there are stay.
        leaving: which of the runs that have nodes there are to go elsewhere.
    """

    name: str
    total: Size
    node_limit: Size
    gpu_ids: tuple[str, ...] = ()
    takes_work: bool = True
    takes_new_nodes: bool = True
    leaving: Leaving = Leaving.NOBODY


@dataclass(frozen=True, slots=True)
class Cluster:
    """A pool of equal nodes that grows and shrinks.

    Attributes:
        id: its id.
        workspace_id: whose it is.
        node_size: nominal size of its nodes.
        min_nodes: never fewer, as far as hosts have room.
        max_nodes: never more.
        idle_seconds_before_scaledown: an idle node beyond the minimum goes after so long.
        is_low_priority: whether its runs may be preempted by those of other clusters.
        is_enabled: whether runs may start on it.
        packs: nodes are put on as few hosts as can be, instead of spread over them.
    """

    id: str
    workspace_id: str
    node_size: Size
    min_nodes: int = 0
    max_nodes: int = 1
    idle_seconds_before_scaledown: float = 120.0
    is_low_priority: bool = False
    is_enabled: bool = True
    packs: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a cluster.

    Attributes:
        id: its id.
        cluster_id: its cluster.
        host: the machine that it is a part of.
        index: its number within the cluster.
        size: what it really has.
        gpu_ids: the host's GPUs that are its own.
        run_id: the run that has it; empty when it is idle.
        idle_seconds: how long it has been idle.
        is_usable: False when nothing can be started on it: it goes as soon as it is idle.
    """

    id: str
    cluster_id: str
    host: str
    index: int
    size: Size
    gpu_ids: tuple[str, ...] = ()
    run_id: str = ""
    idle_seconds: float = 0.0
    is_usable: bool = True


class Gang(NamedTuple):
    """A run that waits for so many nodes at once.

    Attributes:
        run_id: the run.
        cluster_id: where it is to run.
        user_id: who submitted it.
        node_count: nodes it needs, all together or none.
        queued_seconds: how long it has waited; of two that waited as long, the lower id is first.
        priority: higher goes first; waiting raises it (see ``Policy.ageing_seconds``).
        at_most_seconds: after so long it is ended at the latest; infinite without a limit.
        cost: so much of its workspace's budget is kept for it when it gets its nodes.
    """

    run_id: str
    cluster_id: str
    user_id: str
    node_count: int
    queued_seconds: float
    priority: int = 50
    at_most_seconds: float = float("inf")
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Running:
    """A run that has nodes.

    Attributes:
        run_id: the run.
        cluster_id: where it runs.
        user_id: who submitted it.
        priority: as it was submitted.
        running_seconds: since when.
        ends_in_seconds: when it is expected to end, from its limit or from what earlier ones took;
            0 when nothing is known: it may end at any moment.
        is_stopping: it is being ended already.
        gives_way: it is, because its nodes are needed by others.
    """

    run_id: str
    cluster_id: str
    user_id: str
    priority: int = 50
    running_seconds: float = 0.0
    ends_in_seconds: float = 0.0
    is_stopping: bool = False
    gives_way: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """A quota: the most that one workspace, or one user in all, may have at a time."""

    runs: float = float("inf")
    nodes: float = float("inf")
    cores: float = float("inf")
    gpus: float = float("inf")


@dataclass(frozen=True, slots=True)
class Policy:
    """How the queue is ordered.

    Attributes:
        ageing_seconds: after each such time of waiting a run's priority is one higher, without
            end: whatever is submitted later is behind it one day, so nothing starves.
        shares: weights of workspaces; 1 for those that are not named.
    """

    ageing_seconds: float = 600.0
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """All that shares the hosts, at one moment.

    Attributes:
        hosts: machines, with or without room.
        clusters: all clusters of all workspaces.
        nodes: all nodes that exist.
        running: all runs that have nodes.
        queue: gangs that wait.
        workspace_limits: quotas of workspaces by id.
        user_limits: quotas of users by id.
        workspace_budgets: what workspaces with a budget may still spend, by id.
        workspace_usage: what workspaces used lately (decayed core-seconds), by id.
        user_usage: the same of users.
        policy: how to order the queue.
    """

    hosts: tuple[Host, ...]
    clusters: tuple[Cluster, ...]
    nodes: tuple[Node, ...] = ()
    running: tuple[Running, ...] = ()
    queue: tuple[Gang, ...] = ()
    workspace_limits: Mapping[str, Limits] = field(default_factory=dict)
    user_limits: Mapping[str, Limits] = field(default_factory=dict)
    workspace_budgets: Mapping[str, float] = field(default_factory=dict)
    workspace_usage: Mapping[str, float] = field(default_factory=dict)
    user_usage: Mapping[str, float] = field(default_factory=dict)
    policy: Policy = Policy()


class Place(NamedTuple):
    """Where a new node is to be."""

    cluster_id: str
    host: str
    size: Size
    gpu_ids: tuple[str, ...]


class Placement(NamedTuple):
    """The nodes of a gang: idle ones that exist, and new ones."""

    node_ids: tuple[str, ...]
    new: tuple[Place, ...]


class Waiting(NamedTuple):
    """A gang that was not placed, and why.

    Attributes:
        run_id: the run.
        cluster_id: where it waits.
        position: 1 is the first of those that wait for this cluster.
        reason: what is in the way.
        object: what that is: the run ahead, the quota, the cluster.
        starts_in_seconds: when its nodes are kept for it, for the head of a queue; else infinite.
    """

    run_id: str
    cluster_id: str
    position: int
    reason: Reason
    object: str = ""
    starts_in_seconds: float = float("inf")


class Preemption(NamedTuple):
    """A run that has to give up its nodes."""

    run_id: str
    for_run_id: str


class Eviction(NamedTuple):
    """A run that has to leave a host that is being drained."""

    run_id: str
    host: str


@dataclass(frozen=True)
class Plan:
    """What should be done.

    Attributes:
        placed: run id → the nodes it gets; in the order in which they were decided.
        waiting: every gang that is not placed, in the order of the queue.
        preempted: low-priority runs that have to go.
        evicted: runs that have to leave their host.
        new_nodes: nodes that clusters get for their minimum.
        remove_node_ids: idle nodes that go: too old, on a host that takes no work, or in the way.
        target_node_counts: nodes that each cluster should have in the end, by cluster.
    """

    placed: dict[str, Placement] = field(default_factory=dict)
    waiting: tuple[Waiting, ...] = ()
    preempted: tuple[Preemption, ...] = ()
    evicted: tuple[Eviction, ...] = ()
    new_nodes: tuple[Place, ...] = ()
    remove_node_ids: tuple[str, ...] = ()
    target_node_counts: dict[str, int] = field(default_factory=dict)
