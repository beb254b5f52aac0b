"""Where nodes live."""

from fastapi import APIRouter

from app.auth.access import UserAccess
from app.auth.needs import needs
from app.hosts import repository
from app.hosts.schemas import HostRead
from app.kernel.db import SessionDep
from app.kernel.pagination import Page

router = APIRouter(prefix="/v1/hosts", tags=["health"])


@router.get("")
@needs("platform.read")
async def list_hosts(session: SessionDep, _: UserAccess) -> Page[HostRead]:
    """The machines that nodes may live on, as a worker last saw them.

    Without a swarm there is one; with a swarm, they are the engines that the settings name.
    """
    items = [
        HostRead(
            name=host.name,
            provider=host.provider,
            state=host.state,
            detail=host.detail,
            address=host.address,
            cores=host.cores,
            memory_bytes=host.memory_bytes,
            gpus=host.gpus,
            labels=host.labels,
            cluster_nodes=node_count,
            running_nodes=running_count,
            state_transition_time=host.state_at,
            last_seen_at=host.seen_at,
        )
        for host, node_count, running_count in await repository.list_all(session)
    ]
    return Page(items=items)
