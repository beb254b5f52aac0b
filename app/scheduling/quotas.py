"""What workspaces and users have at a time and may spend, against what they may have."""

from collections import Counter
from collections.abc import Mapping
from math import inf

from app.scheduling.types import Cluster, Gang, Limits, Reason, Size, Snapshot

_Left = list[float]  # runs, nodes, cores, GPUs: in the order of `Limits`
_COINS = 1e-6  # of a budget: less than this is lost in rounding


class Quotas:
    """What is left of quotas and budgets, of those who have one."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._limits_of_workspaces = snapshot.workspace_limits
        self._limits_of_users = snapshot.user_limits
        self._workspaces = _left(snapshot.workspace_limits)
        self._users = _left(snapshot.user_limits)
        self._budgets = dict(snapshot.workspace_budgets)
        # By owner and cluster: gangs of at most so many nodes are within the quota. A long queue
        # asks the same again and again.
        self._most_of_workspace: dict[str, dict[str, float]] = {
            name: {} for name in self._workspaces
        }
        self._most_of_user: dict[str, dict[str, float]] = {name: {} for name in self._users}
        if not self._workspaces and not self._users:
            return
        clusters = {cluster.id: cluster for cluster in snapshot.clusters}
        counts = Counter(node.run_id for node in snapshot.nodes)
        for run in snapshot.running:
            self._take(clusters[run.cluster_id], run.user_id, counts[run.run_id])

    def exceeded(self, gang: Gang, cluster: Cluster) -> tuple[Reason, str] | None:
        """What is in its way: a quota, as ``workspace.cores`` or ``user.runs``, or the budget."""
        workspace_id, cluster_id = cluster.workspace_id, cluster.id
        known = self._most_of_workspace.get(workspace_id)
        if known is not None:
            left = self._workspaces[workspace_id]
            if cluster_id not in known:
                known[cluster_id] = _most(left, cluster.node_size)
            if gang.node_count > known[cluster_id]:
                return Reason.QUOTA, f"workspace.{_lacking(left, gang, cluster.node_size)}"
        known = self._most_of_user.get(gang.user_id)
        if known is not None:
            left = self._users[gang.user_id]
            if cluster_id not in known:
                known[cluster_id] = _most(left, cluster.node_size)
            if gang.node_count > known[cluster_id]:
                return Reason.QUOTA, f"user.{_lacking(left, gang, cluster.node_size)}"
        if 0 < gang.cost > self._budgets.get(workspace_id, gang.cost) + _COINS:
            return Reason.BUDGET, ""
        return None

    def keep(self, gang: Gang, cluster: Cluster, exceeded: str) -> None:
        """What comes back of the quota that keeps a gang waiting is its own, if that can be enough.

        Args:
            gang: that waits.
            cluster: where.
            exceeded: the quota, as `exceeded` says it.
        """
        if exceeded.startswith("workspace."):
            owner, limits = cluster.workspace_id, self._limits_of_workspaces
            left, most = self._workspaces, self._most_of_workspace
        else:
            owner, limits = gang.user_id, self._limits_of_users
            left, most = self._users, self._most_of_user
        if gang.node_count <= _most(_all_of(limits[owner]), cluster.node_size):
            _subtract(left[owner], gang.node_count, cluster.node_size)
            most[owner].clear()

    def add(self, gang: Gang, cluster: Cluster) -> None:
        """It has been placed."""
        if cluster.workspace_id in self._budgets:
            self._budgets[cluster.workspace_id] -= gang.cost
        self._take(cluster, gang.user_id, gang.node_count)

    def _take(self, cluster: Cluster, user_id: str, node_count: int) -> None:
        size = cluster.node_size
        self._most_of_workspace.get(cluster.workspace_id, {}).clear()
        self._most_of_user.get(user_id, {}).clear()
        for left in (self._workspaces.get(cluster.workspace_id), self._users.get(user_id)):
            if left is not None:
                _subtract(left, node_count, size)


def _left(limits: Mapping[str, Limits]) -> dict[str, _Left]:
    return {owner: _all_of(limit) for owner, limit in limits.items()}


def _all_of(limits: Limits) -> _Left:
    return [limits.runs, limits.nodes, limits.cores, limits.gpus]


def _subtract(left: _Left, node_count: int, size: Size) -> None:
    left[0] -= 1
    left[1] -= node_count
    left[2] -= node_count * size.cores
    left[3] -= node_count * size.gpus


def _most(left: _Left, size: Size) -> float:
    """A gang of so many nodes lacks nothing; a wider one does."""
    runs, nodes, cores, gpus = left
    if runs < 1:
        return 0
    of_cores = cores / size.cores if size.cores else inf
    return min(nodes, of_cores, gpus / size.gpus if size.gpus else inf)


def _lacking(left: _Left, gang: Gang, size: Size) -> str:
    """The first that a gang needs more of than is left; what it does not need is no matter."""
    runs, nodes, cores, _ = left
    count = gang.node_count
    if runs < 1:
        return "runs"
    if nodes < count:
        return "nodes"
    return "cores" if cores < count * size.cores else "gpus"
