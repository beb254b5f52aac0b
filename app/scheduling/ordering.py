"""In which order gangs get their chance: priority, then fairness, then age."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.scheduling.types import Gang, Snapshot

_UNLIMITED_COUNTS_AS_SECONDS = 3600.0
_Numbers = NDArray[Any]


def in_turn(snapshot: Snapshot) -> list[Gang]:
    """All gangs, the one whose turn it is first.

    A gang's level is its priority, one higher for each ``ageing_seconds`` that it has waited.
    Higher levels go first. Within a level it is the turn of the workspace that used least for its
    share, within it of the user who used least, and of theirs the oldest gang is next. Each gang
    counts as used when its turn comes, so equals take turns (start-time fair queueing over
    core-seconds).

    What a user or a workspace has used when the turn of a gang comes is the sum over those of
    their gangs that are before it. So everybody's own gangs are put in order first, summed up, and
    then put among those of the others by the sum: three sorts, however many there are.
    """
    queue = snapshot.queue
    if not queue:
        return []
    run_ids, cluster_ids, user_ids, node_counts, queued, priorities, limits, _ = zip(
        *queue, strict=True
    )
    clusters = {cluster.id: cluster for cluster in snapshot.clusters}
    workspace_ids = [clusters[cluster_id].workspace_id for cluster_id in cluster_ids]
    cores = [clusters[cluster_id].node_size.cores for cluster_id in cluster_ids]
    seconds = np.array(limits)
    seconds[seconds == inf] = _UNLIMITED_COUNTS_AS_SECONDS
    costs = np.array(node_counts) * np.array(cores) * seconds
    waited = np.array(queued, dtype=float)
    ageing_seconds = snapshot.policy.ageing_seconds
    # Negative, so that the highest is sorted first.
    levels = -(np.array(priorities) + (waited / ageing_seconds).astype(np.int64))
    users, of_user = _numbered(user_ids)
    workspaces, of_workspace = _numbered(workspace_ids)

    order = _by_age(run_ids, waited, (of_workspace, levels, of_user))
    level, user, workspace, cost = (
        levels[order], of_user[order], of_workspace[order], costs[order],
    )  # fmt: skip
    before = np.cumsum(cost) - cost
    first_of_user = _first(user)
    first_of_level = _first(user, level)
    # Of higher levels in all workspaces, and of this level in this one.
    spent = before[first_of_level] - before[first_of_user]
    spent += before - before[_first(user, level, workspace)]
    spent += _values(users, snapshot.user_usage, 0.0)[user]

    among_users = np.lexsort((spent, level, workspace))
    order, level, workspace, cost = (
        order[among_users], level[among_users], workspace[among_users], cost[among_users],
    )  # fmt: skip
    before = np.cumsum(cost) - cost
    spent = before - before[_first(workspace)]
    spent += _values(workspaces, snapshot.workspace_usage, 0.0)[workspace]
    spent /= _values(workspaces, snapshot.policy.shares, 1.0)[workspace]
    among_workspaces = np.lexsort((spent, level))
    return [queue[number] for number in order[among_workspaces].tolist()]


def shortest_first(turns: Sequence[Gang], numbers: Sequence[int]) -> list[int]:
    """In which order those are tried that may go before somebody whose turn it was.

    By priority as it was given, then by the time after which they end at the latest, then in turn.

    Args:
        turns: all gangs in turn.
        numbers: of those that are tried, positions among ``turns``, ascending.
    """
    if not numbers:
        return []
    priorities = np.array([turns[number].priority for number in numbers])
    limits = np.array([turns[number].at_most_seconds for number in numbers])
    order = np.lexsort((limits, -priorities))
    return [numbers[position] for position in order.tolist()]


def _by_age(
    run_ids: Sequence[str], waited: _Numbers, groups: tuple[_Numbers, ...]
) -> NDArray[np.intp]:
    """Positions by group (the last key first), within each the oldest first, then by id."""
    keys = (-waited, *groups)
    order = np.lexsort(keys)
    is_alike = np.ones(len(order) - 1, dtype=bool)
    for key in keys:
        is_alike &= key[order[1:]] == key[order[:-1]]
    if not is_alike.any():
        return order
    # Ids are compared only where something depends on it.
    tied = set(order[1:][is_alike].tolist()) | set(order[:-1][is_alike].tolist())
    ranks = np.zeros(len(order), dtype=np.int64)
    for rank, position in enumerate(sorted(tied, key=run_ids.__getitem__)):
        ranks[position] = rank
    return np.lexsort((ranks, *keys))


def _numbered(names: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """All names in order, and the number of each."""
    found = sorted(set(names))
    numbers = {name: number for number, name in enumerate(found)}
    return found, np.array([numbers[name] for name in names])


def _values(names: Sequence[str], values: Mapping[str, float], default: float) -> _Numbers:
    return np.array([values.get(name, default) for name in names])


def _first(*keys: _Numbers) -> _Numbers:
    """For every position of sorted keys the first one that has the same."""
    is_new = np.zeros(len(keys[0]), dtype=bool)
    is_new[0] = True
    for key in keys:
        is_new[1:] |= key[1:] != key[:-1]
    firsts: _Numbers = np.flatnonzero(is_new)[np.cumsum(is_new) - 1]
    return firsts
