"""Routes of clusters and sizes."""

from fastapi import APIRouter, Request, Response
from sqlalchemy.exc import IntegrityError

from app.auth.access import UserAccess
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.clusters import repository, service
from app.clusters.schemas import (
    ClusterNodeRead,
    ClusterPut,
    ClusterRead,
    ClusterUpdate,
    VmSizeRead,
)
from app.clusters.vm_sizes import vm_sizes
from app.costs import prices
from app.kernel.config import SettingsDep
from app.kernel.db import SessionDep
from app.kernel.errors import Conflict
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.names import NamePath
from app.kernel.odd_rows import one
from app.kernel.pagination import Page, PageDep
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES
from app.planning.service import wake_planner
from app.tables.cluster import Cluster
from app.workspaces.access import WorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/clusters", tags=["clusters"], route_class=WriteRoute
)
sizes_router = APIRouter(prefix="/v1/vm-sizes", tags=["clusters"])


@sizes_router.get("")
@needs("account.read")
async def list_vm_sizes(
    session: SessionDep, settings: SettingsDep, _: UserAccess
) -> Page[VmSizeRead]:
    """The sizes that nodes may have, and what an hour of a node costs."""
    sizes = vm_sizes(settings.vm_sizes_file)
    now = await prices.current(session, settings)
    return Page(
        items=[
            VmSizeRead(
                name=size.name,
                cores=size.cores,
                memory_gb=size.memory_gb,
                gpus=size.gpus,
                price_per_hour=float(now[name]),
                currency=settings.currency,
            )
            for name, size in sorted(sizes.items())
        ]
    )


@router.put("/{cluster}", responses={201: {"model": ClusterRead}}, dependencies=[VALIDATES])
@needs("clusters.write")
async def put_cluster(
    workspace: WorkspaceDep,
    cluster: NamePath,
    body: ClusterPut,
    session: SessionDep,
    settings: SettingsDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> ClusterRead:
    """Get or create: a new cluster (201), or the existing one with these settings (200)."""
    await wake_planner(session)  # first: nobody else changes clusters then
    found = await repository.find(session, workspace.id, cluster)
    check_preconditions(request, _etag(found) if found else None)
    try:
        row, is_new = await service.put(
            session, settings, workspace_id=workspace.id, name=cluster, body=body
        )
    except IntegrityError as error:
        raise Conflict(f"Cluster {cluster!r} is being created; repeat the call.") from error
    if is_new:
        response.status_code = 201
        response.headers["Location"] = absolute_url(request, request.url.path)
    await session.refresh(row)
    return await _answer(session, row, response)


@router.get("")
@needs("clusters.read")
async def list_clusters(
    workspace: WorkspaceDep, session: SessionDep, page: PageDep, _: UserAccess
) -> Page[ClusterRead]:
    """Clusters by name."""
    rows, following = await repository.list_page(session, workspace.id, page)
    return Page.of(rows, await service.reader(session, rows), following)


@router.get("/{cluster}")
@needs("clusters.read")
async def get_cluster(
    workspace: WorkspaceDep,
    cluster: NamePath,
    session: SessionDep,
    response: Response,
    _: UserAccess,
) -> ClusterRead:
    """One cluster with its state and its nodes counted by state."""
    row = await repository.get(session, workspace.id, cluster)
    return await _answer(session, row, response)


@router.patch("/{cluster}", dependencies=[VALIDATES])
@needs("clusters.write")
async def update_cluster(
    workspace: WorkspaceDep,
    cluster: NamePath,
    body: ClusterUpdate,
    session: SessionDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> ClusterRead:
    """Change scale settings, description or tags."""
    await wake_planner(session)  # first: it may be removing this very cluster
    row = await repository.get(session, workspace.id, cluster)
    check_preconditions(request, _etag(row))
    with one(row):
        await service.update(session, row, body)
    await session.refresh(row)
    return await _answer(session, row, response)


@router.delete(
    "/{cluster}",
    status_code=202,
    response_class=Response,
    responses={204: {"description": "It is gone"}},
)
@needs("clusters.write")
async def delete_cluster(
    workspace: WorkspaceDep,
    cluster: NamePath,
    session: SessionDep,
    request: Request,
    _: UserAccess,
) -> Response:
    """Delete a cluster that no run uses: 202 while it goes, 204 when there is none."""
    await wake_planner(session)  # first: it may be removing this very cluster
    row = await repository.find(session, workspace.id, cluster)
    if row is None:
        return Response(status_code=204)
    check_preconditions(request, _etag(row))
    await service.delete(session, row)
    return Response(status_code=202, headers={"Retry-After": "1"})


@router.get("/{cluster}/nodes")
@needs("clusters.read")
async def list_cluster_nodes(
    workspace: WorkspaceDep, cluster: NamePath, session: SessionDep, page: PageDep, _: UserAccess
) -> Page[ClusterNodeRead]:
    """The nodes that exist now."""
    row = await repository.get(session, workspace.id, cluster)
    nodes, following = await repository.list_nodes(session, row.id, page)
    return Page(
        items=[service.read_node(node, state) for node, state in nodes], next_page_token=following
    )


async def _answer(session: SessionDep, row: Cluster, response: Response) -> ClusterRead:
    with one(row):
        response.headers["ETag"] = _etag(row)
        return await service.read(session, row)


def _etag(row: Cluster) -> str:
    # The reconciler touches updated_at too; the ETag is about what users write.
    with one(row):
        written = (
            f"{row.min_nodes}/{row.max_nodes}/{row.idle_seconds_before_scaledown}/{row.vm_priority}"
            f"/{row.node_placement}/{row.is_enabled}/{row.description}/{sorted(row.tags.items())}"
        )
    return resource_etag(f"{row.id}/{written}", row.created_at)
