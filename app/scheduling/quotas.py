"""What workspaces and users have at a time and may spend, against what they may have."""

from collections.abc import Mapping

from app.scheduling.types import Cluster, Gang, Limits, Size, Snapshot

_Taken = list[float]  # runs, nodes, cores, GPUs: in the order of `Limits`
_NOTHING = [0.0, 0.0, 0.0, 0.0]
_COINS = 1e-6  # of a budget: less than this is lost in rounding
_NAMES = ("runs", "nodes", "cores", "gpus")


class Quotas:
    """Counts what is running, and what is placed on top of it, of those who have a quota."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._limits: list[Mapping[str, Limits]] = [
            snapshot.workspace_limits,
            snapshot.user_limits,
        ]
        self._taken: list[dict[str, _Taken]] = [{}, {}]
        self._budgets = dict(snapshot.workspace_budgets)
        if not any(self._limits):
            return
        clusters = {cluster.id: cluster for cluster in snapshot.clusters}
        owners = {run.run_id: run for run in snapshot.running}
        for run in snapshot.running:
            self._add(clusters[run.cluster_id], run.user_id, (1, 0, 0, 0))
        for node in snapshot.nodes:
            owner = owners.get(node.run_id)
            if owner is not None:
                cluster = clusters[owner.cluster_id]
                self._add(cluster, owner.user_id, _of(cluster.node_size, runs=0, nodes=1))

    def exceeded(self, gang: Gang, cluster: Cluster) -> str:
        """The quota that is in its way, as ``workspace.cores`` or ``user.runs``; or empty."""
        if not any(self._limits):
            return ""
        for kind, limits, taken, owner in (
            ("workspace", self._limits[0], self._taken[0], cluster.workspace_id),
            ("user", self._limits[1], self._taken[1], gang.user_id),
        ):
            limit = limits.get(owner)
            if limit is None:
                continue
            more = _of(cluster.node_size, runs=1, nodes=gang.node_count)
            now = taken.get(owner, _NOTHING)
            most = (limit.runs, limit.nodes, limit.cores, limit.gpus)
            for name, have, add, allowed in zip(_NAMES, now, more, most, strict=True):
                if add and have + add > allowed:
                    return f"{kind}.{name}"
        return ""

    def is_too_dear(self, gang: Gang, cluster: Cluster) -> bool:
        """Whether its workspace's budget has less left than is to be kept for it."""
        left = self._budgets.get(cluster.workspace_id)
        return left is not None and gang.cost > 0 and gang.cost > left + _COINS

    def add(self, gang: Gang, cluster: Cluster) -> None:
        """It has been placed."""
        if cluster.workspace_id in self._budgets:
            self._budgets[cluster.workspace_id] -= gang.cost
        self._add(cluster, gang.user_id, _of(cluster.node_size, runs=1, nodes=gang.node_count))

    def _add(self, cluster: Cluster, user_id: str, more: tuple[float, ...]) -> None:
        owners = (cluster.workspace_id, user_id)
        for limits, taken, owner in zip(self._limits, self._taken, owners, strict=True):
            if owner not in limits:
                continue
            now = taken.setdefault(owner, [0.0, 0.0, 0.0, 0.0])
            for position, value in enumerate(more):
                now[position] += value


def _of(size: Size, *, runs: int, nodes: int) -> tuple[float, float, float, float]:
    return (runs, nodes, nodes * size.cores, nodes * size.gpus)
