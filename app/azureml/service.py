"""What the ``azureml-core`` package sends, in this system's own terms."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app.azureml.schemas import MetricSent, MetricValue, RunPatch
from app.metrics import service as metrics
from app.metrics.schemas import MetricRecord, MetricType
from app.runs.schemas import RunUpdate
from app.tables.experiment import Experiment
from app.tables.run import Run
from app.tables.workspace import Workspace

_TYPES: dict[str, MetricType] = {
    "azureml.v1.scalar": "scalar",
    "azureml.v1.list": "list",
    "azureml.v1.table": "row",
    "azureml.v1.image": "image",
}


def run_document(run: Run, experiment: Experiment, workspace: Workspace) -> dict[str, Any]:
    """The run as the package reads it."""
    return {
        "runNumber": 1,
        "rootRunId": run.id,
        "runId": run.id,
        "runUuid": run.id,
        "experimentId": experiment.id,
        "experimentName": experiment.name,
        "workspaceId": workspace.id,
        "parentRunId": None,
        "status": run.status,
        "displayName": run.display_name or run.id,
        "name": run.display_name or run.id,
        "description": run.description,
        "dataContainerId": f"dcid.{run.id}",
        "hidden": False,
        "runType": "azureml.scriptrun",
        "runTypeV2": {"orchestrator": None, "traits": [], "attribution": None},
        "tags": run.tags,
        "properties": run.properties,
        "createdUtc": run.created_at.isoformat(),
        "startTimeUtc": run.started_at.isoformat() if run.started_at else None,
        "endTimeUtc": run.ended_at.isoformat() if run.ended_at else None,
        "heartbeatEnabled": False,
        "options": {"generateDataContainerIdIfNotSpecified": True},
        "inputDatasets": [],
        "outputDatasets": [],
        "runDefinition": None,
        "target": None,
    }


def run_update(patch: RunPatch) -> RunUpdate:
    """The changes of a patch; a status in it is left aside, the exit code of the script decides.

    A tag of the package may have no value: it is kept as an empty one.
    """
    changes: dict[str, Any] = {
        "display_name": patch.display_name,
        "description": patch.description,
        "tags": {key: _text(value) for key, value in (patch.tags or {}).items()},
        "properties": {key: _text(value) for key, value in (patch.properties or {}).items()},
    }
    return RunUpdate.model_validate({k: v for k, v in changes.items() if v is not None})


async def store_batch(
    session: AsyncSession, run: Run, values: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Store the metrics of a batch; the metric ids make a repeated batch harmless.

    Returns:
        Those that were refused: ``{"index", "message"}``.
    """
    refused = []
    for index, value in enumerate(values):
        try:
            sent = MetricSent.model_validate(value)
            records = [_record(sent, row) for row in sent.value]
        except ValidationError as error:
            refused.append({"index": index, "message": str(error).splitlines()[0]})
            continue
        if records:
            # The id of the first row stands for the call; rows keep their order within it.
            await metrics.store(
                session,
                run_id=run.id,
                attempt=run.attempt,
                source=f"azureml-{sent.value[0].metric_id}",
                numbered=list(enumerate(records)),
            )
    return refused


def _record(sent: MetricSent, row: MetricValue) -> MetricRecord:
    kind = _TYPES.get(sent.properties.ux_metric_type, "json")
    value: Any = row.data
    if len(row.data) == 1 and sent.name in row.data and kind in ("scalar", "list"):
        value = row.data[sent.name]
    if kind == "scalar" and isinstance(value, str):
        kind = "string"
    time = row.created_utc.timestamp() if row.created_utc else None
    return MetricRecord(name=sent.name, type=kind, value=value, step=row.step, time=time)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
