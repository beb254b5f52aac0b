"""Routes of runs: submit, list, show, change, cancel."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.auth.access import UserAccess, UserOrRunAccess
from app.auth.idempotency import REPEATABLE
from app.auth.needs import Need, check, needs
from app.auth.shortcuts import Answer, Asked, shortcut
from app.auth.writes import WriteRoute
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.odd_rows import one, shown_after
from app.kernel.pagination import Page, PageDep
from app.kernel.row_locks import locked
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES, ValidateOnlyDep
from app.runs import documents, estimates, service, submission
from app.runs.access import RunDep, RunId
from app.runs.ordering import MAX_CONDITIONS, parse_condition, parse_order
from app.runs.schemas import AttemptRead, RunCreate, RunRead, RunUpdate
from app.runs.states import Status
from app.tables.cluster import Cluster
from app.tables.run import Run
from app.workspaces.access import WorkspaceDep, WorkspaceIdDep, entered_workspace

router = APIRouter(prefix="/v1/workspaces/{workspace}/runs", tags=["runs"], route_class=WriteRoute)


@router.post("", status_code=201, dependencies=[REPEATABLE])
@needs("runs.write")
async def create_run(
    workspace: WorkspaceDep,
    body: RunCreate,
    session: SessionDep,
    settings: SettingsDep,
    request: Request,
    response: Response,
    principal: UserAccess,
    validate_only: ValidateOnlyDep,
) -> RunRead:
    """Submit a run; the answer comes at once and the run goes on by itself.

    With `validate_only` nothing is submitted, and the answer's `estimate` says what the run would
    cost, how long it would take, and when it would start.
    """
    if body.secrets:
        check(Need("secrets.read"), principal, request.path_params)
    run = await submission.submit(
        session, settings, workspace=workspace, body=body, actor=principal.name
    )
    answer = service.read_new(
        run, experiment_name=body.experiment_name, cluster_name=body.cluster_name
    )
    location = absolute_url(request, f"/v1/workspaces/{workspace.name}/runs/{run.id}")
    response.headers["Location"] = location
    response.headers["ETag"] = _etag(run)
    if validate_only:
        # Last: it puts the run into the queue, to be taken back, and nothing of it is read again.
        cluster = await session.get_one(Cluster, run.cluster_id)
        answer.estimate = await estimates.of_new(session, settings, run, cluster)
    return answer


async def _list_runs(asked: Asked) -> Answer:
    page = asked.page()
    workspace_id = entered_workspace(asked)
    rows, following = await documents.find_newest(asked.database.direct, workspace_id, page)
    return Answer(documents.page_document(rows, following))


@router.get("", response_model=Page[RunRead])
@shortcut(_list_runs, has_query=True)
@needs("runs.read")
async def list_runs(
    workspace_id: WorkspaceIdDep,
    database: DatabaseDep,
    page: PageDep,
    _: UserAccess,
    experiment_name: Annotated[str | None, Query(max_length=128)] = None,
    cluster_name: Annotated[str | None, Query(max_length=128)] = None,
    status: Annotated[list[Status], Query(description="May be given several times")] = [],  # noqa: B006
    tag: Annotated[list[str], Query(description="KEY or KEY=VALUE; all must hold")] = [],  # noqa: B006
    metric: Annotated[
        list[Annotated[str, Query(max_length=300)]],
        Query(
            max_length=MAX_CONDITIONS, description="NAME<NUMBER about a last value; all must hold"
        ),
    ] = [],  # noqa: B006
    order_by: Annotated[
        str | None,
        Query(
            max_length=300,
            description="metrics.NAME, or -metrics.NAME for the highest first: by its last "
            "value; runs without it are not listed",
        ),
    ] = None,
) -> Response:
    """Runs, newest first or in the order of a metric."""
    pairs = [item.partition("=") for item in tag]
    tags = {key: value if equals else None for key, equals, value in pairs}
    rows, following = await documents.find_page(
        database.direct,
        workspace_id,
        page,
        experiment_name=experiment_name,
        statuses=status,
        cluster_name=cluster_name,
        tags=tags,
        conditions=[parse_condition(text) for text in metric],
        order=None if order_by is None else parse_order(order_by),
    )
    return Response(documents.page_document(rows, following), media_type="application/json")


async def _get_run(asked: Asked) -> Answer:
    workspace_id = entered_workspace(asked)
    row = await documents.find(asked.database.direct, workspace_id, asked.path["run_id"])
    etag = _etag_of(row["id"], row["event_seq"], row["updated_at"])
    return Answer(documents.document(row), headers=((b"etag", etag.encode()),))


@router.get("/{run_id}", response_model=RunRead)
@shortcut(_get_run)
@needs("runs.read", run=True)
async def get_run(
    workspace_id: WorkspaceIdDep, run_id: RunId, database: DatabaseDep, _: UserOrRunAccess
) -> Response:
    """One run: its state, why it is not running yet, why it failed."""
    row = await documents.find(database.direct, workspace_id, run_id)
    headers = {"ETag": _etag_of(row["id"], row["event_seq"], row["updated_at"])}
    return Response(documents.document(row), headers=headers, media_type="application/json")


@router.patch("/{run_id}", dependencies=[VALIDATES])
@needs("runs.write", run=True)
async def update_run(
    run: RunDep,
    body: RunUpdate,
    session: SessionDep,
    request: Request,
    response: Response,
    principal: UserOrRunAccess,
) -> RunRead:
    """Change names and tags, add properties."""
    run = await locked(session, run)
    check_preconditions(request, _etag(run))
    with one(run):
        run = await service.update(
            session, run, body, actor=principal.name, attempt=principal.attempt
        )
        response.headers["ETag"] = _etag(run)
        return await service.read(session, run)


@router.post("/{run_id}/cancel", status_code=202, response_model=RunRead)
@needs("runs.write", run=True)
async def cancel_run(
    run: RunDep,
    session: SessionDep,
    request: Request,
    response: Response,
    principal: UserOrRunAccess,
) -> RunRead | Response:
    """Ask for the end of a run; asking again changes nothing; 409 when it is over."""
    run = await service.cancel(session, run, actor=principal.name, attempt=principal.attempt)
    response.headers["ETag"] = _etag(run)
    return await shown_after(run, service.read(session, run), request.scope)


@router.delete("/{run_id}", status_code=204)
@needs("runs.write")
async def delete_run(run: RunDep, session: SessionDep, request: Request, _: UserAccess) -> None:
    """Delete a run that is over, with its logs, metrics and files; its models stay.

    The space of files that nothing else uses is freed some time later.
    """
    run = await locked(session, run)
    check_preconditions(request, _etag(run))
    await service.delete(session, run)


@router.get("/{run_id}/attempts")
@needs("runs.read", run=True)
async def list_run_attempts(run: RunDep, session: SessionDep, page: PageDep) -> Page[AttemptRead]:
    """The tries at executing the run, in order, and where their nodes are or were."""
    return await service.read_attempts(session, run.id, page)


def _etag(run: Run) -> str:
    return _etag_of(run.id, run.event_seq, run.updated_at)


def _etag_of(run_id: str, event_seq: int, updated_at: datetime) -> str:
    return resource_etag(f"{run_id}/{event_seq}", updated_at)
