"""Routes of pictures."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.auth.access import UserAccess
from app.auth.needs import needs
from app.costs import charges
from app.costs.router import BetweenDep
from app.kernel.clock import utc_now
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep
from app.metrics import service as metrics
from app.metrics.repository import Wanted
from app.metrics.router import Attempt, WantedDep
from app.pictures import curves, service, spending, timeline, usage
from app.pictures.errors import NothingToPlot
from app.pictures.frame import PICTURE, FrameDep, drawn
from app.pictures.spec import Format
from app.pictures.texts import duration
from app.pictures.undrawn import Along
from app.runs.access import DetachedRunDep, attempt_of
from app.runs.states import TERMINAL
from app.workspaces.detached import DetachedWorkspaceDep

router = APIRouter(prefix="/v1/workspaces/{workspace}", tags=["pictures"])
_RUN = "/runs/{run_id}"
_MOST_RUNS = 20
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


_Along = Annotated[
    Along,
    Query(description="What stands along x; auto: steps where all values have one, else time"),
]
_Log = Annotated[curves.Log, Query(description="Which axes are logarithmic")]


@router.get(f"{_RUN}/metrics.{{kind}}", response_class=Response, responses=PICTURE)
@needs("runs.read", run=True)
async def draw_run_metrics(
    run: DetachedRunDep,
    kind: Format,
    database: DatabaseDep,
    frame: FrameDep,
    wanted: WantedDep,
    attempt: Attempt = None,
    x: _Along = "auto",
    log: _Log = "none",
) -> Response:
    """The learning curves of a run."""
    async with database.session() as session:
        found = await service.curves_of(session, run, wanted, attempt=attempt_of(run, attempt))
    panels, left_out = curves.of_run(found, along=x, log=log, names=wanted.names)
    return await drawn(frame, kind, title=service.title_of(run), footer=left_out, panels=panels)


@router.get("/metrics/compare.{kind}", response_class=Response, responses=PICTURE)
@needs("runs.read")
async def draw_compared_metrics(
    workspace: DetachedWorkspaceDep,
    kind: Format,
    database: DatabaseDep,
    frame: FrameDep,
    wanted: WantedDep,
    _: UserAccess,
    run: Annotated[
        list[Annotated[str, Query(max_length=256)]],
        Query(min_length=1, max_length=_MOST_RUNS, description="Ids of runs; several times"),
    ],
    x: _Along = "auto",
    log: _Log = "none",
) -> Response:
    """The learning curves of several runs, each in a colour."""
    async with database.session() as session:
        found = await service.curves_of_runs(session, workspace.id, run, wanted)
    panels, left_out = curves.of_runs(found, along=x, log=log, names=wanted.names)
    title = f"{len(found)} runs" if len(found) > 1 else found[0].name
    return await drawn(frame, kind, title=title, footer=left_out, panels=panels)


@router.get(f"{_RUN}/host.{{kind}}", response_class=Response, responses=PICTURE)
@needs("runs.read", run=True)
async def draw_run_usage(
    run: DetachedRunDep,
    kind: Format,
    database: DatabaseDep,
    frame: FrameDep,
    attempt: Attempt = None,
) -> Response:
    """What the nodes of a run used, over time."""
    number = attempt_of(run, attempt)
    async with database.session() as session:
        measured = await metrics.read(
            session,
            run_id=run.id,
            attempt=number,
            wanted=Wanted(namespace=usage.NAMESPACE),
            max_points=service.POINTS,
        )
    is_over = run.status in TERMINAL or number < run.attempt
    panels, left_out = usage.of_nodes(measured.items, run.started_at, is_over=is_over)
    title = f"What the nodes of {service.title_of(run)} used"
    return await drawn(frame, kind, title=title, footer=left_out, panels=panels)


@router.get(f"{_RUN}/timeline.{{kind}}", response_class=Response, responses=PICTURE)
@needs("runs.read", run=True)
async def draw_run_timeline(
    run: DetachedRunDep, kind: Format, database: DatabaseDep, frame: FrameDep
) -> Response:
    """When a run was in which state."""
    async with database.session() as session:
        events = await service.state_events(session, run)
    now = utc_now()
    found = timeline.of_events(events, run.ended_at or now)
    seconds = ((run.ended_at or now) - run.created_at).total_seconds()
    title = f"{service.title_of(run)}: {run.status}, {duration(seconds)}"
    return await drawn(frame, kind, title=title, timeline=found)


@router.get("/costs.{kind}", response_class=Response, responses=PICTURE)
@needs("runs.read")
async def draw_workspace_costs(
    workspace: DetachedWorkspaceDep,
    kind: Format,
    database: DatabaseDep,
    settings: SettingsDep,
    frame: FrameDep,
    between: BetweenDep,
    _: UserAccess,
) -> Response:
    """What a workspace spent, growing over time, together and by user, and its budget."""
    since = max(between.since, _FIRST).astimezone(UTC)
    # Nothing of what is yet to come is spent.
    until = min(between.until, utc_now()).astimezone(UTC)
    if since >= until:
        raise NothingToPlot("Nothing was spent between these moments yet.")
    async with database.session() as session:
        rows = await charges.held(session, workspace_id=workspace.id, since=since, until=until)
        budget = await service.budget_of(session, workspace.id, since)
    held = [spending.Held._make(row) for row in rows]
    panels, left_out = spending.of_held(
        held,
        since=since,
        until=until,
        currency=settings.currency,
        budget=budget,
    )
    title = f"{workspace.name} since {since:%Y-%m-%d %H:%M} UTC"
    return await drawn(frame, kind, title=title, footer=left_out, panels=panels)
