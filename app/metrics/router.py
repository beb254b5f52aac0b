"""Routes of a run's metrics."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.auth.access import UserOrRunAccess
from app.kernel.db import SessionDep
from app.kernel.orm import MAX_INTEGER
from app.metrics import service
from app.metrics.schemas import MetricBatch, MetricBatchAccepted, MetricList
from app.runs.access import RunDep
from app.runs.errors import RunFinished
from app.runs.states import TERMINAL

router = APIRouter(prefix="/v1/workspaces/{workspace}/runs/{run_id}/metrics", tags=["metrics"])


@router.get("")
async def list_run_metrics(
    run: RunDep,
    session: SessionDep,
    name: Annotated[str | None, Query(max_length=255)] = None,
    attempt: Annotated[
        int | None, Query(ge=1, le=MAX_INTEGER, description="Absent: the latest")
    ] = None,
) -> MetricList:
    """Everything that the script logged, by name."""
    return await service.read(session, run_id=run.id, attempt=attempt or run.attempt, name=name)


@router.post("", status_code=201)
async def log_run_metrics(
    run: RunDep, body: MetricBatch, session: SessionDep, _: UserOrRunAccess
) -> MetricBatchAccepted:
    """Log values from outside the script's own door; a batch sent again changes nothing."""
    if run.status in TERMINAL:
        raise RunFinished(f"The run is {run.status}; nothing more can be logged.")
    await service.store(
        session,
        run_id=run.id,
        attempt=run.attempt,
        source=f"client-{body.source}",
        numbered=list(enumerate(body.values, start=body.first_seq)),
    )
    return MetricBatchAccepted(next_seq=body.first_seq + len(body.values))
