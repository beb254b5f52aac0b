"""The planner: first come, first served, all nodes of a run together or none.

A pure function of the snapshot. The head of the queue is never overtaken, so no run starves.
"""

from dataclasses import replace

from app.scheduling.types import Gang, Node, Plan, Reason, Snapshot, Waiting


def plan(snapshot: Snapshot) -> Plan:
    """Decide placement, growth and shrinking of one cluster.

    Args:
        snapshot: the cluster now; the same snapshot gives the same plan.
    """
    # An idle node whose host takes no work is as good as gone already.
    doomed = [n.id for n in snapshot.nodes if n.is_idle and not n.is_usable]
    snapshot = replace(snapshot, nodes=tuple(n for n in snapshot.nodes if n.id not in doomed))
    idle = sorted((n for n in snapshot.nodes if n.is_idle), key=lambda n: n.index)
    busy_count = len(snapshot.nodes) - len(idle)
    placed, waiting, needed = _place(snapshot, idle)
    busy_count += sum(len(ids) for ids in placed.values())
    left = idle[sum(len(ids) for ids in placed.values()) :]
    desired = max(snapshot.min_nodes, min(busy_count + needed, snapshot.max_nodes))
    missing = max(0, desired - len(snapshot.nodes))
    removable = [] if needed else _removable(snapshot, left)
    return Plan(
        placed=placed,
        waiting=waiting,
        add_node_count=min(missing, snapshot.addable_node_count),
        remove_node_ids=(*doomed, *removable),
        target_node_count=max(desired, len(snapshot.nodes) - len(removable)),
    )


def _place(
    snapshot: Snapshot, idle: list[Node]
) -> tuple[dict[str, tuple[str, ...]], tuple[Waiting, ...], int]:
    placed: dict[str, tuple[str, ...]] = {}
    waiting: list[Waiting] = []
    free = list(idle)
    head: Gang | None = None
    needed = 0
    for gang in sorted(snapshot.queue, key=lambda g: g.queued_order):
        position = len(waiting) + 1
        if gang.node_count > snapshot.max_nodes:
            waiting.append(Waiting(gang.run_id, position, Reason.LARGER_THAN_CLUSTER))
        elif head is None and gang.node_count <= len(free):
            placed[gang.run_id] = tuple(node.id for node in free[: gang.node_count])
            free = free[gang.node_count :]
        elif head is None:
            head = gang
            needed = gang.node_count
            reason = _why_head_waits(snapshot, gang, free_count=len(free))
            waiting.append(Waiting(gang.run_id, position, reason))
        else:
            # Nodes for the followers are asked for at once: they need not wait for the head.
            needed += gang.node_count
            waiting.append(Waiting(gang.run_id, position, Reason.BEHIND_RUN, head.run_id))
    return placed, tuple(waiting), needed


def _why_head_waits(snapshot: Snapshot, gang: Gang, *, free_count: int) -> Reason:
    room = min(snapshot.max_nodes - len(snapshot.nodes), snapshot.addable_node_count)
    can_grow_enough = free_count + max(0, room) >= gang.node_count
    return Reason.CLUSTER_GROWING if can_grow_enough else Reason.NO_CAPACITY_NOW


def _removable(snapshot: Snapshot, idle: list[Node]) -> list[str]:
    surplus = len(snapshot.nodes) - snapshot.min_nodes
    over_max = len(snapshot.nodes) - snapshot.max_nodes
    old_enough = [
        node
        for position, node in enumerate(sorted(idle, key=lambda n: -n.index))
        if position < over_max or node.idle_seconds >= snapshot.idle_seconds_before_scaledown
    ]
    return [node.id for node in old_enough[: max(0, surplus)]]
