"""What workspaces and users have at a time and may spend, against what they may have."""

from collections import Counter
from collections.abc import Mapping

from app.scheduling.types import Cluster, Gang, Limits, Reason, Size, Snapshot

_Left = list[float]  # runs, nodes, cores, GPUs: in the order of `Limits`
_COINS = 1e-6  # of a budget: less than this is lost in rounding


class Quotas:
    """What is left of quotas and budgets, of those who have one."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._workspaces = _left(snapshot.workspace_limits)
        self._users = _left(snapshot.user_limits)
        self._budgets = dict(snapshot.workspace_budgets)
        if not self._workspaces and not self._users:
            return
        clusters = {cluster.id: cluster for cluster in snapshot.clusters}
        counts = Counter(node.run_id for node in snapshot.nodes)
        for run in snapshot.running:
            self._take(clusters[run.cluster_id], run.user_id, counts[run.run_id])

    def exceeded(self, gang: Gang, cluster: Cluster) -> tuple[Reason, str] | None:
        """What is in its way: a quota, as ``workspace.cores`` or ``user.runs``, or the budget."""
        workspace_id = cluster.workspace_id
        if workspace_id in self._workspaces:
            name = _lacking(self._workspaces[workspace_id], gang, cluster.node_size)
            if name:
                return Reason.QUOTA, f"workspace.{name}"
        if gang.user_id in self._users:
            name = _lacking(self._users[gang.user_id], gang, cluster.node_size)
            if name:
                return Reason.QUOTA, f"user.{name}"
        if 0 < gang.cost > self._budgets.get(workspace_id, gang.cost) + _COINS:
            return Reason.BUDGET, ""
        return None

    def add(self, gang: Gang, cluster: Cluster) -> None:
        """It has been placed."""
        if cluster.workspace_id in self._budgets:
            self._budgets[cluster.workspace_id] -= gang.cost
        self._take(cluster, gang.user_id, gang.node_count)

    def _take(self, cluster: Cluster, user_id: str, node_count: int) -> None:
        size = cluster.node_size
        for left in (self._workspaces.get(cluster.workspace_id), self._users.get(user_id)):
            if left is not None:
                left[0] -= 1
                left[1] -= node_count
                left[2] -= node_count * size.cores
                left[3] -= node_count * size.gpus


def _left(limits: Mapping[str, Limits]) -> dict[str, _Left]:
    return {
        owner: [limit.runs, limit.nodes, limit.cores, limit.gpus] for owner, limit in limits.items()
    }


def _lacking(left: _Left, gang: Gang, size: Size) -> str:
    """The first that a gang needs more of than is left; what it does not need is no matter."""
    runs, nodes, cores, gpus = left
    count = gang.node_count
    if runs < 1:
        return "runs"
    if nodes < count:
        return "nodes"
    if cores < count * size.cores:
        return "cores"
    return "gpus" if size.gpus and gpus < count * size.gpus else ""
