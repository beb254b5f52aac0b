"""Routes of a sweep's plots, as data and as pictures."""

from typing import NamedTuple

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.access import UserAccess
from app.auth.needs import needs
from app.kernel.db import DatabaseDep
from app.pictures.frame import PICTURE, FrameDep, drawn
from app.pictures.spec import Format
from app.pictures.texts import label
from app.sweeps import importance_process, plots, repository, service
from app.sweeps.errors import NothingToCompare
from app.sweeps.plots import ImportancePlot, ParallelPlot, ProgressPlot
from app.sweeps.router import SweepId
from app.sweeps.schemas import SweepCreate
from app.tables.sweep import Sweep, Trial
from app.workspaces.detached import DetachedWorkspaceDep

router = APIRouter(prefix="/v1/workspaces/{workspace}/sweeps/{sweep_id}/plots", tags=["sweeps"])


class _Found(NamedTuple):
    """A sweep with those of its trials that have a value, by number."""

    sweep: Sweep
    spec: SweepCreate
    trials: list[Trial]

    @property
    def name(self) -> str:
        return label(self.sweep.display_name or self.sweep.id)


async def _found(
    session: AsyncSession, workspace_id: str, sweep_id: str, *, fewest: int = 1
) -> _Found:
    sweep = await repository.get(session, workspace_id, sweep_id)
    trials = await repository.all_trials(session, [sweep.id])
    valued = [trial for trial in trials if trial.value is not None]
    if len(valued) < fewest:
        metric = sweep.spec["objective"]["primary_metric"]
        have = {0: "No trial has", 1: "Only 1 trial has"}.get(
            len(valued), f"Only {len(valued)} trials have"
        )
        raise NothingToCompare(f"{have} logged {metric!r}; this plot needs {fewest}.")
    return _Found(sweep, service.spec_of(sweep), valued)


@router.get("/progress")
@needs("runs.read")
async def get_sweep_progress(
    workspace: DetachedWorkspaceDep, sweep_id: SweepId, database: DatabaseDep, _: UserAccess
) -> ProgressPlot:
    """The value of each trial, and the best so far."""
    async with database.session() as session:
        found = await _found(session, workspace.id, sweep_id)
    return _progress(found)


@router.get("/parallel-coordinates")
@needs("runs.read")
async def get_sweep_parallel_coordinates(
    workspace: DetachedWorkspaceDep, sweep_id: SweepId, database: DatabaseDep, _: UserAccess
) -> ParallelPlot:
    """Each trial with its parameters and its value."""
    async with database.session() as session:
        found = await _found(session, workspace.id, sweep_id)
    return _parallel(found)


@router.get("/importance")
@needs("runs.read")
async def get_sweep_importance(
    workspace: DetachedWorkspaceDep, sweep_id: SweepId, database: DatabaseDep, _: UserAccess
) -> ImportancePlot:
    """How much each parameter matters, by functional ANOVA; of parameters that all trials have."""
    return await _importance(await _many(database, workspace.id, sweep_id))


@router.get("/progress.{kind}", response_class=Response, responses=PICTURE)
@needs("runs.read")
async def draw_sweep_progress(
    workspace: DetachedWorkspaceDep,
    sweep_id: SweepId,
    kind: Format,
    database: DatabaseDep,
    frame: FrameDep,
    _: UserAccess,
) -> Response:
    """The value of each trial, and the best so far, as a picture."""
    async with database.session() as session:
        found = await _found(session, workspace.id, sweep_id)
    failed = {trial.number for trial in found.trials if trial.outcome == "Failed"}
    panel = plots.progress_panel(_progress(found), failed)
    return await drawn(frame, kind, title=found.name, panels=[panel])


@router.get("/parallel-coordinates.{kind}", response_class=Response, responses=PICTURE)
@needs("runs.read")
async def draw_sweep_parallel_coordinates(
    workspace: DetachedWorkspaceDep,
    sweep_id: SweepId,
    kind: Format,
    database: DatabaseDep,
    frame: FrameDep,
    _: UserAccess,
) -> Response:
    """Each trial as a line across its parameters to its value, as a picture."""
    async with database.session() as session:
        found = await _found(session, workspace.id, sweep_id)
    picture = plots.parallel_picture(_parallel(found), found.spec.search_space)
    return await drawn(frame, kind, title=found.name, parallel=picture)


@router.get("/importance.{kind}", response_class=Response, responses=PICTURE)
@needs("runs.read")
async def draw_sweep_importance(
    workspace: DetachedWorkspaceDep,
    sweep_id: SweepId,
    kind: Format,
    database: DatabaseDep,
    frame: FrameDep,
    _: UserAccess,
) -> Response:
    """How much each parameter matters, as a picture."""
    found = await _many(database, workspace.id, sweep_id)
    bars = plots.importance_bars(await _importance(found))
    return await drawn(frame, kind, title=found.name, bars=bars)


async def _many(database: DatabaseDep, workspace_id: str, sweep_id: str) -> _Found:
    fewest = importance_process.FEWEST_TRIALS
    async with database.session() as session:
        return await _found(session, workspace_id, sweep_id, fewest=fewest)


def _progress(found: _Found) -> ProgressPlot:
    objective = found.spec.objective
    return plots.progress(objective.primary_metric, objective.goal, found.trials)


def _parallel(found: _Found) -> ParallelPlot:
    objective = found.spec.objective
    return plots.parallel(
        objective.primary_metric, objective.goal, found.spec.search_space, found.trials
    )


async def _importance(found: _Found) -> ImportancePlot:
    places = plots.places(found.spec.search_space, found.trials)
    values = [trial.value for trial in found.trials if trial.value is not None]
    shares = await importance_process.computed(places, values) if places[0] else {}
    return ImportancePlot(
        primary_metric=found.spec.objective.primary_metric,
        trials_count=len(values),
        importances=shares,
        left_out=sorted(set(found.spec.search_space) - set(places[0])),
    )
