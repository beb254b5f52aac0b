"""Routes of deployments."""

import json
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy.exc import IntegrityError

from app.auth.access import UserAccess
from app.auth.idempotency import REPEATABLE_SECRET
from app.auth.needs import needs
from app.auth.signing import Signer
from app.auth.writes import WriteRoute
from app.deployments import repository, service
from app.deployments.keys import deployment_keys
from app.deployments.schemas import (
    DeploymentKeys,
    DeploymentPath,
    DeploymentPut,
    DeploymentRead,
    KeyRegenerate,
    Traffic,
)
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.errors import Conflict
from app.kernel.etags import NEEDS_READING, check_is_read, check_preconditions, resource_etag
from app.kernel.odd_rows import one
from app.kernel.pagination import Page, PageDep
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES
from app.logs.answer import LOG_RESPONSES, log_answer
from app.logs.query import LineQueryDep
from app.storage.access import ObjectsDep
from app.tables.deployment import Deployment
from app.workspaces.access import WorkspaceDep
from app.workspaces.detached import DetachedWorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/deployments", tags=["deployments"], route_class=WriteRoute
)


async def _deployment(
    workspace: WorkspaceDep, deployment: DeploymentPath, session: SessionDep, _: UserAccess
) -> Deployment:
    return await repository.get(session, workspace.id, deployment)


DeploymentDep = Annotated[Deployment, Depends(_deployment, scope="function")]


@router.put("/{deployment}", responses={201: {"model": DeploymentRead}}, dependencies=[VALIDATES])
@needs("deployments.write")
async def put_deployment(
    workspace: WorkspaceDep,
    deployment: DeploymentPath,
    body: DeploymentPut,
    session: SessionDep,
    settings: SettingsDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> DeploymentRead:
    """Deploy a model version without code (201), or change a deployment (200).

    It is Healthy once every replica has answered a real inference; until a change is healthy the
    replicas before it go on answering.
    """
    found = await repository.find(session, workspace.id, deployment)
    if found is not None:
        found = await repository.lock(session, found.id)
    check_preconditions(request, _etag(found) if found else None)
    try:
        row, is_new = await service.put(
            session, settings, workspace=workspace, name=deployment, body=body
        )
    except IntegrityError as error:
        raise Conflict(
            f"Deployment {deployment!r} is being created, or its model is being deleted; repeat"
            " the call."
        ) from error
    if is_new:
        response.status_code = 201
        response.headers["Location"] = absolute_url(request, request.url.path)
    return await _answer(session, row, request, response)


@router.get("")
@needs("deployments.read")
async def list_deployments(
    workspace: WorkspaceDep, session: SessionDep, page: PageDep, request: Request, _: UserAccess
) -> Page[DeploymentRead]:
    """Deployments by name."""
    rows, following = await repository.list_page(session, workspace.id, page)
    return Page.of(rows, await service.reader(session, rows, request), following)


@router.get("/{deployment}")
@needs("deployments.read")
async def get_deployment(
    row: DeploymentDep, session: SessionDep, request: Request, response: Response
) -> DeploymentRead:
    """One deployment with its state and addresses."""
    return await _answer(session, row, request, response)


@router.delete(
    "/{deployment}",
    status_code=202,
    response_class=Response,
    responses={204: {"description": "It is gone"}},
)
@needs("deployments.write")
async def delete_deployment(
    workspace: WorkspaceDep,
    deployment: DeploymentPath,
    session: SessionDep,
    request: Request,
    _: UserAccess,
) -> Response:
    """Take a deployment down: 202 while it goes, 204 when there is none."""
    row = await repository.find(session, workspace.id, deployment)
    if row is None:
        return Response(status_code=204)
    row = await repository.lock(session, row.id)
    check_preconditions(request, _etag(row))
    await service.delete(session, row)
    return Response(status_code=202, headers={"Retry-After": "1"})


@router.post("/{deployment}/rollback")
@needs("deployments.write")
async def roll_back_deployment(
    workspace: WorkspaceDep,
    row: DeploymentDep,
    session: SessionDep,
    settings: SettingsDep,
    request: Request,
    response: Response,
) -> DeploymentRead:
    """Go back to the model version, resources and limits that were healthy before the last change.

    A rollback is a change like any other: it can be rolled back itself.
    """
    found = await service.rollback(session, settings, workspace=workspace, row=row)
    return await _answer(session, found, request, response)


@router.get("/{deployment}/traffic")
@needs("deployments.read")
async def get_deployment_traffic(row: DeploymentDep, response: Response) -> Traffic:
    """Where the deployment's requests go."""
    with one(row):
        response.headers["ETag"] = _traffic_etag(row)
        return Traffic.model_validate(row.traffic)


@router.put("/{deployment}/traffic", responses=NEEDS_READING, dependencies=[VALIDATES])
@needs("deployments.write")
async def put_deployment_traffic(
    row: DeploymentDep, body: Traffic, session: SessionDep, request: Request, response: Response
) -> Traffic:
    """Let other deployments answer a part of the requests, or get copies of them.

    All of it to another one is the switch of a blue/green deployment, and ``{}`` takes it back.
    """
    row = await repository.lock(session, row.id)
    before = _traffic_etag(row)
    check_preconditions(request, before)
    is_ruled = Traffic.model_validate(row.traffic) != Traffic()
    row = await service.set_traffic(session, row, body)
    check_is_read(request, before if is_ruled else None, _traffic_etag(row))
    response.headers["ETag"] = _traffic_etag(row)
    return Traffic.model_validate(row.traffic)


@router.get("/{deployment}/keys")
@needs("deployments.keys")
async def get_deployment_keys(row: DeploymentDep, request: Request) -> DeploymentKeys:
    """Both keys of the scoring address."""
    return _keys(row, request)


@router.post("/{deployment}/keys/regenerate", dependencies=[REPEATABLE_SECRET])
@needs("deployments.keys")
async def regenerate_deployment_key(
    row: DeploymentDep, body: KeyRegenerate, session: SessionDep, request: Request
) -> DeploymentKeys:
    """Replace one key; the old one is refused from now on."""
    return _keys(await service.regenerate_key(session, row, body.key), request)


@router.get("/{deployment}/logs", response_class=Response, responses=LOG_RESPONSES)
@router.head("/{deployment}/logs", include_in_schema=False)
@needs("deployments.read")
async def get_deployment_logs(
    workspace: DetachedWorkspaceDep,
    deployment: DeploymentPath,
    request: Request,
    database: DatabaseDep,
    objects: ObjectsDep,
    _: UserAccess,
    lines: LineQueryDep,
    offset: Annotated[int, Query(ge=0, description="First byte")] = 0,
    follow: Annotated[bool, Query(description="Go on until the deployment is gone")] = False,
) -> Response:
    """What all replicas printed, as it is now or followed; lines as of a run's log."""
    async with database.session() as session:
        row = await repository.get(session, workspace.id, deployment)
    return await log_answer(
        request,
        database,
        objects,
        owner=row.id,
        lines=lines,
        offset=offset,
        follow=follow,
    )


async def _answer(
    session: SessionDep, row: Deployment, request: Request, response: Response
) -> DeploymentRead:
    with one(row):
        response.headers["ETag"] = _etag(row)
        read_one = await service.reader(session, [row], request)
        return read_one(row)


def _keys(row: Deployment, request: Request) -> DeploymentKeys:
    signer: Signer = request.app.state.signer
    return DeploymentKeys(**deployment_keys(signer, row))


def _traffic_etag(row: Deployment) -> str:
    written = json.dumps(row.traffic, sort_keys=True)
    return resource_etag(f"{row.id}/{written}", row.created_at)


def _etag(row: Deployment) -> str:
    # The reconciler touches updated_at too; the ETag is about what users write.
    replica_count = "" if row.autoscale else row.replica_count
    written = (
        f"{row.model_version_id}/{replica_count}/{sorted(row.resource_configuration.items())}"
        f"/{sorted(row.limits.items())}/{row.autoscale}/{row.description}/{sorted(row.tags.items())}"
        f"/{row.data_capture}"
    )
    return resource_etag(f"{row.id}/{written}", row.created_at)
