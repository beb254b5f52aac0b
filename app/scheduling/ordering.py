"""In which order gangs get their chance: priority, then fairness, then age."""

import heapq
from collections.abc import Iterator
from math import inf
from operator import attrgetter

from app.scheduling.types import Gang, Snapshot

_UNLIMITED_COUNTS_AS_SECONDS = 3600.0
_RUN_ID = attrgetter("run_id")
_QUEUED_SECONDS = attrgetter("queued_seconds")
_Queues = dict[str, dict[str, list[Gang]]]
"""Gangs by workspace and user."""


def in_turn(snapshot: Snapshot) -> Iterator[Gang]:
    """All gangs, the one whose turn it is first.

    A gang's level is its priority, one higher for each ``ageing_seconds`` that it has waited.
    Higher levels go first. Within a level it is the turn of the workspace that used least for its
    share, within it of the user who used least, and of theirs the oldest gang is next. Each gang
    counts as used when its turn comes, so equals take turns (start-time fair queueing over
    core-seconds).
    """
    used = _Used(snapshot)
    ageing_seconds = snapshot.policy.ageing_seconds
    workspaces = used.workspaces
    # All in one pass: there may be many groups of few gangs.
    groups: dict[tuple[int, str, str], list[Gang]] = {}
    for gang in snapshot.queue:
        _, cluster_id, user_id, _, queued_seconds, priority, _, _ = gang
        level = priority + int(queued_seconds / ageing_seconds)
        key = (level, workspaces[cluster_id], user_id)
        mine = groups.get(key)
        if mine is None:
            groups[key] = [gang]
        else:
            mine.append(gang)
    levels: dict[int, _Queues] = {}
    for (level, workspace_id, user_id), mine in groups.items():
        if len(mine) > 1:
            # The oldest last, where it is taken from; of equals the lowest id.
            mine.sort(key=_RUN_ID, reverse=True)
            mine.sort(key=_QUEUED_SECONDS)
        levels.setdefault(level, {}).setdefault(workspace_id, {})[user_id] = mine
    for level in sorted(levels, reverse=True):
        yield from _level_in_turn(levels[level], used)


class _Used:
    """What workspaces and users used, growing while gangs are handed out."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.of_workspace = dict(snapshot.workspace_usage)
        self.of_user = dict(snapshot.user_usage)
        self.shares = snapshot.policy.shares
        self.cores = {cluster.id: cluster.node_size.cores for cluster in snapshot.clusters}
        self.workspaces = {cluster.id: cluster.workspace_id for cluster in snapshot.clusters}


def _level_in_turn(queues: _Queues, used: _Used) -> Iterator[Gang]:
    workspaces = [
        (
            used.of_workspace.get(workspace_id, 0.0) / used.shares.get(workspace_id, 1.0),
            workspace_id,
            [(used.of_user.get(user_id, 0.0), user_id, mine) for user_id, mine in users.items()],
        )
        for workspace_id, users in queues.items()
    ]
    for _, _, turns in workspaces:
        heapq.heapify(turns)
    heapq.heapify(workspaces)
    while workspaces:
        spent, workspace_id, turns = workspaces[0]
        users_spent, user_id, mine = turns[0]
        gang = mine.pop()
        _, cluster_id, _, node_count, _, _, seconds, _ = gang
        if seconds == inf:
            seconds = _UNLIMITED_COUNTS_AS_SECONDS
        cost = node_count * used.cores[cluster_id] * seconds
        if mine:
            heapq.heapreplace(turns, (users_spent + cost, user_id, mine))
        else:
            heapq.heappop(turns)
            used.of_user[user_id] = users_spent + cost
        share = used.shares.get(workspace_id, 1.0)
        if turns:
            heapq.heapreplace(workspaces, (spent + cost / share, workspace_id, turns))
        else:
            heapq.heappop(workspaces)
            used.of_workspace[workspace_id] = spent * share + cost
        yield gang
