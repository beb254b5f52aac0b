"""Routes of a run's metrics."""

from tempfile import TemporaryFile
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from fastapi import Path as PathParameter
from fastapi.responses import StreamingResponse

from app.auth.access import UserAccess, UserOrRunAccess
from app.auth.idempotency import REPEATABLE_DETACHED
from app.auth.needs import needs
from app.auth.shortcuts import Answer, Asked, shortcut
from app.auth.writes import WriteRoute
from app.kernel.clock import Moment
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.names import WORKSPACE_PATTERN
from app.kernel.orm import MAX_INTEGER
from app.metrics import export, service
from app.metrics.plots import FEWEST_POINTS
from app.metrics.repository import Wanted
from app.metrics.schemas import (
    Comparison,
    MetricBatch,
    MetricBatchAccepted,
    MetricList,
    MetricSummaryList,
)
from app.runs.access import DetachedRunDep, RunDep, RunId, attempt_of
from app.workspaces.access import WorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/runs/{run_id}/metrics",
    tags=["metrics"],
    route_class=WriteRoute,
)
compare_router = APIRouter(prefix="/v1/workspaces/{workspace}/metrics", tags=["metrics"])

_CSV = "text/csv"
_PARQUET = export.ParquetResponse.media_type
_MOST_POINTS = 100_000

Attempt = Annotated[int | None, Query(ge=1, le=MAX_INTEGER, description="Absent: the latest")]
Step = Annotated[int | None, Query(ge=-MAX_INTEGER, le=MAX_INTEGER)]
MetricName = Annotated[str, Query(max_length=255)]


async def _wanted(
    name: Annotated[
        list[MetricName], Query(max_length=100, description="May be given several times")
    ] = [],  # noqa: B006
    namespace: Annotated[
        str, Query(max_length=100, description="Absent: what the script logged")
    ] = "",
    first_step: Step = None,
    last_step: Step = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> Wanted:
    return Wanted(name, namespace, first_step, last_step, since, until)


WantedDep = Annotated[Wanted, Depends(_wanted)]


@router.get("")
@needs("runs.read", run=True)
async def list_run_metrics(
    run: RunDep,
    session: SessionDep,
    wanted: WantedDep,
    attempt: Attempt = None,
    max_points: Annotated[
        int | None,
        Query(
            ge=FEWEST_POINTS,
            le=_MOST_POINTS,
            description="Thin each metric out to so many values that still look like its curve",
        ),
    ] = None,
) -> MetricList:
    """What the script logged, by name, with all values or as many as a plot needs."""
    return await service.read(
        session,
        run_id=run.id,
        attempt=attempt_of(run, attempt),
        wanted=wanted,
        max_points=max_points,
    )


@router.get("/summary")
@needs("runs.read", run=True)
async def summarize_run_metrics(
    run: RunDep, session: SessionDep, wanted: WantedDep, attempt: Attempt = None
) -> MetricSummaryList:
    """Count, last, minimum and maximum of each metric, with their steps; no values."""
    return await service.summarize(
        session, run_id=run.id, attempt=attempt_of(run, attempt), wanted=wanted
    )


@router.get(
    "/export",
    response_class=Response,
    responses={
        200: {
            "content": {
                _CSV: {"schema": {"type": "string"}},
                _PARQUET: {"schema": {"type": "string", "format": "binary"}},
            }
        }
    },
)
@needs("runs.read", run=True)
async def export_run_metrics(
    run: DetachedRunDep,
    database: DatabaseDep,
    settings: SettingsDep,
    wanted: WantedDep,
    format: Annotated[Literal["csv", "parquet"], Query()] = "csv",  # noqa: A002
    attempt: Attempt = None,
) -> Response:
    """All values as a file: one row a value."""
    key = (run.id, attempt_of(run, attempt))
    filename = f"{run.id}-metrics.{format}"
    if format == "csv":
        headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
        lines = export.csv_lines(database, key, wanted)
        return StreamingResponse(lines, media_type=_CSV, headers=headers)
    # A Parquet file has its index at the end, and a client wants to know its length. The file has
    # no name: however this ends, nothing of it is left.
    file = TemporaryFile(dir=settings.data_dir)  # noqa: SIM115
    try:
        await export.write_parquet(database, key, wanted, file)
    except BaseException:
        file.close()
        raise
    return export.ParquetResponse(file, filename=filename)


async def _log_metrics(asked: Asked) -> Answer:
    batch = asked.parse(MetricBatch)
    await service.store_from_client(
        asked.database,
        asked.principal,
        workspace=asked.path["workspace"],
        run_id=asked.path["run_id"],
        batch=batch,
    )
    return Answer(b'{"next_seq":%d}\n' % (batch.first_seq + len(batch.values)), status=201)


@router.post("", status_code=201, dependencies=[REPEATABLE_DETACHED])
@shortcut(_log_metrics)
@needs("runs.write", run=True, audited=False)
async def log_run_metrics(
    workspace: Annotated[str, PathParameter(pattern=WORKSPACE_PATTERN)],
    run_id: RunId,
    body: MetricBatch,
    database: DatabaseDep,
    principal: UserOrRunAccess,
) -> MetricBatchAccepted:
    """Log values from outside the script's own door; a batch sent again changes nothing."""
    await service.store_from_client(
        database, principal, workspace=workspace, run_id=run_id, batch=body
    )
    return MetricBatchAccepted(next_seq=body.first_seq + len(body.values))


@compare_router.get("/compare")
@needs("runs.read")
async def compare_metrics(
    workspace: WorkspaceDep,
    session: SessionDep,
    wanted: WantedDep,
    _: UserAccess,
    run: Annotated[
        list[Annotated[str, Query(max_length=256)]],
        Query(min_length=1, max_length=100, description="Ids of runs; give it several times"),
    ],
    max_points: Annotated[
        int,
        Query(ge=0, le=5000, description="Values of each metric; 0: the summary only"),
    ] = 200,
) -> Comparison:
    """The metrics of several runs in one answer, thinned out for plots."""
    most = max(FEWEST_POINTS, max_points) if max_points else 0
    return await service.compare(session, workspace.id, list(dict.fromkeys(run)), wanted, most)
