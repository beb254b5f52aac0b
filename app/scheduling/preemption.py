"""Which low-priority runs have to go for a gang that hosts have no room for."""

from collections.abc import Sequence

from app.scheduling.pool import Pool
from app.scheduling.reservation import Ending, Future
from app.scheduling.types import Cluster, Gang, Preemption


def victims(gang: Gang, pool: Pool, ending: Sequence[Ending]) -> tuple[Preemption, ...] | None:
    """Low-priority runs without which there is room: the lowest and youngest, no more than needed.

    Only runs on low-priority clusters, and only those that are strictly lower: any of them for a
    gang of a dedicated cluster, those of lower priority for one of a low-priority cluster.

    Returns:
        Who has to go; empty when those that are being ended already are enough; None when even
        all of them would not help.
    """
    cluster = pool.clusters[gang.cluster_id].cluster
    stopping = [end for end in ending if end.run.is_stopping]
    future = Future(gang, pool)
    for end in stopping:
        future.end(end)
    if future.has_room:
        return () if stopping else None
    lower = [end for end in ending if _is_lower(end, gang, cluster, pool)]
    lower.sort(key=lambda end: (end.run.priority, end.run.running_seconds, end.run.run_id))
    enough = _until_there_is_room(lower, future)
    if enough is None:
        return None
    # From the last one, which made the room, backwards: those of the first that did not help stay.
    future = Future(gang, pool)
    for end in stopping:
        future.end(end)
    chosen = _until_there_is_room(enough[::-1], future)
    return tuple(Preemption(end.run.run_id, gang.run_id) for end in chosen or enough)


def _until_there_is_room(candidates: Sequence[Ending], future: Future) -> list[Ending] | None:
    for count, end in enumerate(candidates, start=1):
        future.end(end)
        if future.has_room:
            return list(candidates[:count])
    return None


def _is_lower(end: Ending, gang: Gang, cluster: Cluster, pool: Pool) -> bool:
    theirs = pool.clusters[end.run.cluster_id].cluster
    if end.run.is_stopping or not theirs.is_low_priority:
        return False
    return not cluster.is_low_priority or end.run.priority < gang.priority
