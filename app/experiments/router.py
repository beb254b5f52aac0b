"""Routes of experiments."""

from fastapi import APIRouter, Request, Response

from app.auth.access import UserAccess, UserOrRunAccess
from app.auth.idempotency import REPEATABLE
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.experiments import repository
from app.experiments.schemas import ExperimentCreate, ExperimentPut, ExperimentRead
from app.kernel.db import SessionDep
from app.kernel.errors import Conflict
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.names import TitlePath
from app.kernel.odd_rows import one
from app.kernel.pagination import Page, PageDep
from app.kernel.row_locks import locked, still_there
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES
from app.tables.experiment import Experiment
from app.workspaces.access import WorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/experiments", tags=["experiments"], route_class=WriteRoute
)


@router.post("", status_code=201, dependencies=[REPEATABLE])
@needs("experiments.write")
async def create_experiment(
    workspace: WorkspaceDep,
    body: ExperimentCreate,
    session: SessionDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> ExperimentRead:
    """Create an experiment; 409 if the name is taken."""
    row, created = await repository.get_or_create(session, workspace.id, body.name)
    if not created:
        raise Conflict(f"An experiment {body.name!r} exists already.")
    location = absolute_url(request, f"{request.url.path}/{row.name}")
    response.headers["Location"] = location
    return await _write(row, body, session, response)


@router.put("/{experiment}", responses={201: {"model": ExperimentRead}}, dependencies=[VALIDATES])
@needs("experiments.write")
async def put_experiment(
    workspace: WorkspaceDep,
    experiment: TitlePath,
    session: SessionDep,
    request: Request,
    response: Response,
    _: UserAccess,
    body: ExperimentPut | None = None,
) -> ExperimentRead:
    """Create an experiment (201) or replace its description and tags (200)."""
    row, created = await repository.get_or_create(session, workspace.id, experiment)
    row = await locked(session, row)
    check_preconditions(request, None if created else resource_etag(row.id, row.updated_at))
    if created:
        response.status_code = 201
        response.headers["Location"] = absolute_url(request, request.url.path)
    return await _write(row, body or ExperimentPut(), session, response)


@router.get("")
@needs("experiments.read")
async def list_experiments(
    workspace: WorkspaceDep, session: SessionDep, page: PageDep, _: UserAccess
) -> Page[ExperimentRead]:
    """Experiments by name."""
    rows, following = await repository.list_page(session, workspace.id, page)
    return Page.of(rows, ExperimentRead.model_validate, following)


@router.get("/{experiment}")
@needs("experiments.read", run=True)
async def get_experiment(
    workspace: WorkspaceDep,
    experiment: TitlePath,
    session: SessionDep,
    response: Response,
    _: UserOrRunAccess,
) -> ExperimentRead:
    """One experiment."""
    row = await repository.get(session, workspace.id, experiment)
    response.headers["ETag"] = resource_etag(row.id, row.updated_at)
    with one(row):
        return ExperimentRead.model_validate(row)


@router.delete("/{experiment}", status_code=204)
@needs("experiments.write")
async def delete_experiment(
    workspace: WorkspaceDep,
    experiment: TitlePath,
    session: SessionDep,
    request: Request,
    _: UserAccess,
) -> None:
    """Delete an experiment without runs; 204 also when there is none."""
    row = await repository.find(session, workspace.id, experiment)
    # Whoever is submitting a run of it is through before it is looked at.
    row = row and await still_there(session, row, to_empty=True)
    if row is None:
        return
    check_preconditions(request, resource_etag(row.id, row.updated_at))
    if await repository.has_runs(session, row.id):
        raise Conflict(f"Experiment {experiment!r} has runs or sweeps; it cannot be deleted.")
    await session.delete(row)


async def _write(
    row: Experiment, body: ExperimentPut, session: SessionDep, response: Response
) -> ExperimentRead:
    row.description = body.description
    row.tags = dict(body.tags)
    await session.flush()
    await session.refresh(row)
    response.headers["ETag"] = resource_etag(row.id, row.updated_at)
    with one(row):
        return ExperimentRead.model_validate(row)
