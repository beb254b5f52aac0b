"""Calls of the ``azureml-core`` package about metrics (contract, 2.12)."""

from typing import Any

from fastapi import APIRouter

from app.auth.access import AnyAccess
from app.auth.needs import needs
from app.azureml import service
from app.azureml.access import SCOPE, AzureRunDep, DetachedAzureRunDep, check_current
from app.azureml.documents import metric_document
from app.azureml.errors import MetricNotFound
from app.azureml.schemas import MetricBatchSent, MetricQuery
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.errors import Conflict
from app.metrics import service as metrics
from app.metrics.repository import Wanted
from app.runs import repository as runs
from app.runs.states import TERMINAL
from app.storage.access import ObjectsDep

router = APIRouter(tags=["azureml"], include_in_schema=False)
_METRIC = f"/metric/v2.0{SCOPE}/runs/{{azureml_run_id}}"
_HISTORY = f"/history/v1.0{SCOPE}"
_INGEST = (
    f"{_METRIC}/metricsingest/wait",
    f"{_HISTORY}/experimentids/{{experiment_id}}/runs/{{azureml_run_id}}/metricsingest/wait",
    f"{_HISTORY}/experiments/{{experiment_name}}/runs/{{azureml_run_id}}/metricsingest/wait",
)


@router.post(f"{_METRIC}/batch")
@needs("runs.write", run=True, audited=False)
async def send_azureml_metrics(
    run: DetachedAzureRunDep,
    body: MetricBatchSent,
    database: DatabaseDep,
    objects: ObjectsDep,
    caller: AnyAccess,
) -> dict[str, Any]:
    """Metrics; a batch sent again changes nothing."""
    batch = await service.read_batch(database, objects, run, body.values)
    async with database.session() as session:
        run = await runs.get(session, run.workspace_id, run.id)
        await check_current(session, caller, run)
        if run.status in TERMINAL:
            raise Conflict(f"The run is {run.status}; nothing more can be logged.")
        await service.store_batch(session, run, batch)
    return {"report": None, "errors": batch.refused}


@router.post(f"{_METRIC}/list")
@needs("runs.read", run=True)
async def list_azureml_metrics(run: AzureRunDep, session: SessionDep) -> dict[str, Any]:
    """The names of the run's metrics."""
    found = await metrics.summarize(session, run_id=run.id, attempt=run.attempt, wanted=Wanted())
    names = [{"metricKey": {"name": item.name}, "columns": {}} for item in found.items]
    return {"value": names, "continuationToken": None}


@router.post(f"{_METRIC}/full")
@needs("runs.read", run=True)
async def get_azureml_metric(
    run: AzureRunDep, body: MetricQuery, session: SessionDep
) -> dict[str, Any]:
    """A metric with its values."""
    wanted = Wanted([body.metric_name], since=body.start_time, until=body.end_time)
    found = await metrics.read(session, run_id=run.id, attempt=run.attempt, wanted=wanted)
    if not found.items:
        raise MetricNotFound(f"The run has no metric {body.metric_name!r}.")
    return metric_document(run.id, found.items[0])


@router.get(_INGEST[0])
@router.post(_INGEST[0])
@router.get(_INGEST[1])
@router.get(_INGEST[2])
@needs("runs.read", run=True)
async def wait_for_azureml_metrics(run: AzureRunDep) -> dict[str, str]:
    """Metrics are stored when their batch is answered: there is nothing to wait for."""
    return {}
