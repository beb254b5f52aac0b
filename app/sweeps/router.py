"""Routes of sweeps: make, list, show, cancel; their trials; replays; the best model."""

from typing import Annotated, Literal

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Request, Response

from app.auth.access import UserAccess
from app.auth.idempotency import REPEATABLE
from app.auth.needs import Need, check, needs
from app.auth.writes import WriteRoute
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.etags import resource_etag
from app.kernel.odd_rows import one, one_of, shown_after
from app.kernel.pagination import Page, PageDep
from app.kernel.urls import absolute_url
from app.models import service as models
from app.models.schemas import ModelVersionRead
from app.sweeps import replaying, repository, service
from app.sweeps.errors import NoTrialYet
from app.sweeps.replay import Replay
from app.sweeps.schemas import (
    BestModelCreate,
    ReplayRequest,
    SweepCreate,
    SweepRead,
    TrialRead,
)
from app.tables.sweep import Sweep, Trial
from app.workspaces.access import WorkspaceDep
from app.workspaces.detached import DetachedWorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/sweeps", tags=["sweeps"], route_class=WriteRoute
)
SweepId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


@router.post("", status_code=201, dependencies=[REPEATABLE])
@needs("runs.write")
async def create_sweep(
    workspace: WorkspaceDep,
    body: SweepCreate,
    session: SessionDep,
    settings: SettingsDep,
    request: Request,
    response: Response,
    principal: UserAccess,
) -> SweepRead:
    """Start a search; its trials are runs, which are submitted as places become free."""
    if body.trial.secrets:
        check(Need("secrets.read"), principal, request.path_params)
    sweep = await service.create(
        session, settings, workspace=workspace, body=body, actor=principal.name
    )
    location = absolute_url(request, f"/v1/workspaces/{workspace.name}/sweeps/{sweep.id}")
    response.headers["Location"] = location
    response.headers["ETag"] = _etag(sweep)
    with one(sweep):
        return await service.read(session, sweep)


@router.get("")
@needs("runs.read")
async def list_sweeps(
    workspace: WorkspaceDep,
    session: SessionDep,
    page: PageDep,
    _: UserAccess,
    experiment_name: Annotated[str | None, Query(max_length=128)] = None,
) -> Page[SweepRead]:
    """Sweeps, the newest first."""
    rows, following = await repository.list_page(
        session, workspace.id, page, experiment_name=experiment_name
    )
    return Page.of(rows, await service.reader(session, rows), following)


@router.get("/{sweep_id}")
@needs("runs.read")
async def get_sweep(
    workspace: WorkspaceDep,
    sweep_id: SweepId,
    session: SessionDep,
    response: Response,
    _: UserAccess,
) -> SweepRead:
    """One sweep: how far it is, and its best trial."""
    sweep = await repository.get(session, workspace.id, sweep_id)
    response.headers["ETag"] = _etag(sweep)
    with one(sweep):
        return await service.read(session, sweep)


@router.post("/{sweep_id}/cancel", status_code=202, response_model=SweepRead)
@needs("runs.write")
async def cancel_sweep(
    workspace: WorkspaceDep,
    sweep_id: SweepId,
    session: SessionDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> SweepRead | Response:
    """Ask for the end of a sweep and its runs; again changes nothing; 409 when it is over."""
    sweep = await repository.get(session, workspace.id, sweep_id)
    sweep = await service.cancel(session, sweep)
    response.headers["ETag"] = _etag(sweep)
    return await shown_after(sweep, service.read(session, sweep), request.scope)


@router.get("/{sweep_id}/trials")
@needs("runs.read")
async def list_sweep_trials(
    workspace: WorkspaceDep,
    sweep_id: SweepId,
    session: SessionDep,
    page: PageDep,
    _: UserAccess,
    order_by: Annotated[
        Literal["number", "value", "-value"],
        Query(description="-value: the highest first; trials without a value are not listed then"),
    ] = "number",
) -> Page[TrialRead]:
    """Trials with their values, by number or by the primary metric."""
    sweep = await repository.get(session, workspace.id, sweep_id)
    rows, following = await repository.list_trials(
        session,
        sweep.id,
        page,
        by_value=order_by != "number",
        descending=order_by.startswith("-"),
    )
    return Page.of(
        rows,
        service.read_trial,
        following,
        table=Trial.__tablename__,
        name_of=lambda row: str(row.number),
    )


@router.get("/{sweep_id}/best")
@needs("runs.read")
async def get_best_trial(
    workspace: WorkspaceDep,
    sweep_id: SweepId,
    session: SessionDep,
    _: UserAccess,
    include_failed: bool = True,
    include_canceled: bool = True,
) -> TrialRead:
    """The trial with the best value of the primary metric; of equals the first."""
    sweep = await repository.get(session, workspace.id, sweep_id)
    left_out = {"Failed"} if not include_failed else set()
    left_out |= {"Canceled"} if not include_canceled else set()
    outcomes = None if not left_out else sorted({"", *service.OVER} - left_out)
    with one(sweep):
        trial = await service.best(session, sweep, outcomes=outcomes)
    if trial is None:
        raise NoTrialYet("No such trial has logged the primary metric yet.")
    with one_of(Trial.__tablename__, f"{sweep.id}/{trial.number}"):
        return service.read_trial(await repository.shown_trial(session, sweep.id, trial.number))


@router.post("/{sweep_id}/best/model", status_code=201, dependencies=[REPEATABLE])
@needs("models.write")
async def register_best_model(
    workspace: WorkspaceDep,
    sweep_id: SweepId,
    body: BestModelCreate,
    session: SessionDep,
    request: Request,
    response: Response,
    principal: UserAccess,
) -> ModelVersionRead:
    """Register files of the best trial that completed as the next version of a model.

    Where its run was deleted, those of the next best.
    """
    check(Need("runs.read"), principal, request.path_params)
    sweep = await repository.get(session, workspace.id, sweep_id)
    trial = await service.best(session, sweep, outcomes=["Completed"], has_run=True)
    if trial is None or trial.run_id is None:
        raise NoTrialYet(
            "No trial that completed, and whose run was not deleted, has logged the primary metric."
        )
    files, lineage = await models.files_of_run(
        session, workspace=workspace, run_id=trial.run_id, path=body.path
    )
    name, row = await models.add_version(
        session,
        workspace=workspace,
        name=body.model_name,
        about=body,
        files=files,
        lineage=lineage,
        actor=principal.name,
    )
    path = f"/v1/workspaces/{workspace.name}/models/{name}/versions/{row.version}"
    response.headers["Location"] = absolute_url(request, path)
    return await models.read(session, name, row)


@router.post("/{sweep_id}/replay")
@needs("runs.read")
async def replay_sweep(
    workspace: DetachedWorkspaceDep,
    sweep_id: SweepId,
    body: ReplayRequest,
    database: DatabaseDep,
    _: UserAccess,
) -> Replay:
    """What another policy would have ended, and whether the winner among it; changes nothing.

    Of the sweep's own policy it says what that ended.
    """
    async with database.session() as session:
        sweep = await repository.get(session, workspace.id, sweep_id)
        found = await replaying.histories(session, sweep, body.early_termination)
        record = await replaying.recorded(session, sweep, body.early_termination)
    return await anyio.to_thread.run_sync(
        replaying.replay, sweep, body.early_termination, found, record
    )


def _etag(sweep: Sweep) -> str:
    # What a user changes is whether it goes on.
    is_asked = sweep.end_reason == "canceled"
    return resource_etag(f"{sweep.id}/{is_asked}", sweep.created_at)
