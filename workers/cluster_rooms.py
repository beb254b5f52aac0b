"""What hosts have left for the nodes of a cluster."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from app.clusters import repository
from app.clusters.service import find_size
from app.clusters.vm_sizes import GIB
from app.kernel.config import Settings
from app.providers.base import Capacity, Host, HostState
from app.scheduling.rooms import Room, Size
from app.tables.cluster import Cluster


async def rooms(
    session: AsyncSession, settings: Settings, cluster: Cluster, hosts: Sequence[Host]
) -> list[Room]:
    """The room on every host that takes nodes."""
    handed_out = await repository.handed_out(session)
    gpus_taken = await repository.gpus_taken(session)
    found = []
    for host in hosts:
        if host.state != HostState.READY:
            continue
        cores, memory_bytes = handed_out.get(host.name, (0.0, 0))
        taken = gpus_taken.get(host.name, set())
        gpus = [str(number) for number in range(host.capacity.gpus)]
        room = Room(
            host=host.name,
            size=_size(settings, cluster, host.capacity),
            cores=host.capacity.cores * settings.node_overcommit - cores,
            memory_bytes=host.capacity.memory_bytes - memory_bytes,
            # These are never handed out twice.
            gpu_ids=tuple(gpu for gpu in gpus if gpu not in taken),
        )
        found.append(room)
    return found


def _size(settings: Settings, cluster: Cluster, capacity: Capacity) -> Size:
    # Nominal sizes larger than the host are cut down to it, so that scripts written for large
    # nodes still find a place (docs/decisions: virtual nodes).
    nominal = find_size(settings, cluster.vm_size)
    overcommit = settings.node_overcommit
    return Size(
        cores=min(float(nominal.cores), capacity.cores),
        memory_bytes=min(int(nominal.memory_gb * GIB), int(capacity.memory_bytes / overcommit)),
        gpus=min(nominal.gpus, capacity.gpus),
    )
