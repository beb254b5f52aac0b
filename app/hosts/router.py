"""Where nodes live: for administrators."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter

from app.auth.access import UserAccess
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.hosts import service
from app.hosts.schemas import HostDrain, HostPut, HostRead
from app.kernel.db import SessionDep
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.names import NAME_PATTERN
from app.kernel.pagination import Page, PageDep
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES
from app.planning.service import wake_planner

router = APIRouter(prefix="/v1/hosts", tags=["hosts"], route_class=WriteRoute)
HostName = Annotated[str, PathParameter(pattern=NAME_PATTERN, description="As GET /v1/hosts says")]
_NEVER = datetime.fromtimestamp(0, UTC)


@router.get("")
@needs("platform.read")
async def list_hosts(session: SessionDep, page: PageDep, _: UserAccess) -> Page[HostRead]:
    """The machines that nodes may live on, as a worker last saw them.

    Without a swarm there is one; with a swarm, they are the engines that the settings name and
    those that were registered.
    """
    return await service.list_page(session, page)


@router.get("/{host}")
@needs("platform.read")
async def get_host(
    host: HostName, session: SessionDep, response: Response, _: UserAccess
) -> HostRead:
    """One host."""
    return await _answer(session, host, response)


@router.put(
    "/{host}",
    responses={201: {"model": HostRead, "description": "Registered"}},
    dependencies=[VALIDATES],
)
@needs("platform.write")
async def put_host(
    host: HostName,
    body: HostPut,
    session: SessionDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> HostRead:
    """Register an engine as a host (201), or set how much of a host is handed out.

    A lower limit ends nothing: nodes that are there stay until their runs end.
    """
    await wake_planner(session)  # first: nobody else changes hosts then
    check_preconditions(request, await _etag(session, host))
    if await service.put(session, host, body):
        response.status_code = 201
        response.headers["Location"] = absolute_url(request, request.url.path)
    return await _answer(session, host, response)


@router.post("/{host}/drain")
@needs("platform.write")
async def drain_host(
    host: HostName,
    body: HostDrain,
    session: SessionDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> HostRead:
    """Empty a host: it takes no nodes, idle ones and low-priority runs leave.

    Other runs go on to their end, or until the deadline, when they begin a new attempt elsewhere
    from their checkpoints; that does not count towards their max_attempts. Again: the deadline and
    the reason are replaced.
    """
    await wake_planner(session)  # first: nobody else changes hosts then
    check_preconditions(request, await _etag(session, host))
    await service.drain(session, host, body)
    return await _answer(session, host, response)


@router.post("/{host}/undrain")
@needs("platform.write")
async def undrain_host(
    host: HostName, session: SessionDep, request: Request, response: Response, _: UserAccess
) -> HostRead:
    """Let a host take nodes again; nothing happens to one that is not being drained."""
    await wake_planner(session)  # first: nobody else changes hosts then
    check_preconditions(request, await _etag(session, host))
    await service.undrain(session, host)
    return await _answer(session, host, response)


@router.delete("/{host}", status_code=204)
@needs("platform.write")
async def delete_host(host: HostName, session: SessionDep, request: Request, _: UserAccess) -> None:
    """Forget a registered engine that is drained; 204 also when there is none."""
    await wake_planner(session)  # first: nobody else changes hosts then
    check_preconditions(request, await _etag(session, host))
    await service.delete(session, host)


async def _answer(session: SessionDep, name: str, response: Response) -> HostRead:
    found = await service.get(session, name)
    response.headers["ETag"] = await _etag(session, name)
    return found


async def _etag(session: SessionDep, name: str) -> str:
    # Of what administrators write; what workers see changes the content alone.
    return resource_etag(f"host/{name}", await service.changed_at(session, name) or _NEVER)
