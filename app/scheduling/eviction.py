"""Which runs have to leave hosts that are being drained."""

from collections.abc import Collection

from app.scheduling.types import Eviction, Leaving, Snapshot


def evictions(snapshot: Snapshot, *, besides: Collection[str]) -> tuple[Eviction, ...]:
    """Runs with a node on a host that they have to leave, each with one such host, by run.

    Args:
        snapshot: all of it now.
        besides: runs that are told to go already.
    """
    leaving = {host.name: host.leaving for host in snapshot.hosts if host.leaving != Leaving.NOBODY}
    if not leaving:
        return ()
    low = {cluster.id for cluster in snapshot.clusters if cluster.is_low_priority}
    may_stay = {run.run_id for run in snapshot.running if run.is_stopping} | set(besides)
    found: dict[str, str] = {}
    for node in sorted(snapshot.nodes, key=lambda node: node.host):
        who = leaving.get(node.host, Leaving.NOBODY)
        if who == Leaving.EVERYBODY or (who == Leaving.LOW_PRIORITY and node.cluster_id in low):
            found.setdefault(node.run_id, node.host)
    running = {run.run_id for run in snapshot.running}
    return tuple(
        Eviction(run_id, found[run_id]) for run_id in sorted(found) if run_id in running - may_stay
    )
