"""Runs, files and metrics as the ``azureml-core`` package reads them: pure functions."""

from typing import Any

from app.metrics.schemas import MetricRead
from app.runs.states import TRACKED
from app.tables.experiment import Experiment
from app.tables.run import Run
from app.tables.workspace import Workspace

ORIGIN = "ExperimentRun"
"""Of which kind of thing files are; there is no other here."""
PARENT_TAG = "mlflow.parentRunId"
"""How runs below others are marked, whichever client made them."""
_CONTAINER = "dcid."
_LOCATION = "aml://artifactId/"
_UX_TYPES = {
    "scalar": "azureml.v1.scalar",
    "string": "azureml.v1.scalar",
    "list": "azureml.v1.list",
    "vector": "azureml.v1.list",
    "row": "azureml.v1.table",
    "table": "azureml.v1.table",
    "image": "azureml.v2.image",
}
_FILES = frozenset({"confusion_matrix", "accuracy_table", "residuals", "predictions"})
"""Metrics whose value the package keeps in a file of the same name."""


def run_document(run: Run, experiment: Experiment, workspace: Workspace) -> dict[str, Any]:
    """A run."""
    parent = run.tags.get(PARENT_TAG) or run.creator_run_id
    return {
        "runNumber": 1,
        "rootRunId": run.creator_run_id or run.id,
        "runId": run.id,
        "runUuid": run.id,
        "experimentId": experiment.id,
        "experimentName": experiment.name,
        "workspaceId": workspace.id,
        "parentRunId": parent,
        "status": run.status,
        "displayName": run.display_name or run.id,
        "name": run.display_name or run.id,
        "description": run.description,
        "dataContainerId": container_of(run.id),
        "hidden": False,
        "runType": "sdk" if run.kind == TRACKED else "azureml.scriptrun",
        "runTypeV2": {"orchestrator": None, "traits": [], "attribution": None},
        "tags": run.tags,
        "properties": run.properties,
        "createdUtc": run.created_at.isoformat(),
        "startTimeUtc": run.started_at.isoformat() if run.started_at else None,
        "endTimeUtc": run.ended_at.isoformat() if run.ended_at else None,
        "createdBy": {"userName": run.created_by},
        "heartbeatEnabled": False,
        "options": {"generateDataContainerIdIfNotSpecified": True},
        "inputDatasets": [],
        "outputDatasets": [],
        "runDefinition": None,
        "target": None,
        "error": _error(run),
    }


def details_document(run: Run, *, target: str | None) -> dict[str, Any]:
    """What ``Run.get_details`` asks for."""
    return {
        "runId": run.id,
        "target": target or "sdk",
        "status": run.status,
        "startTimeUtc": run.started_at.isoformat() if run.started_at else None,
        "endTimeUtc": run.ended_at.isoformat() if run.ended_at else None,
        "error": _error(run),
        "warnings": [{"source": "trainwright", "message": w["message"]} for w in run.warnings],
        "tags": run.tags,
        "properties": run.properties,
        "inputDatasets": [],
        "outputDatasets": [],
        "runDefinition": {key: run.request.get(key) for key in ("entry_script", "command", "argv")},
        "logFiles": {},
        "submittedBy": run.created_by,
    }


def container_of(run_id: str) -> str:
    """The name of the place of a run's files."""
    return f"{_CONTAINER}{run_id}"


def run_of_container(container: str) -> str:
    """The run whose files a place has; empty when it is no such place."""
    prefix, _, run_id = container.partition(".")
    return run_id if f"{prefix}." == _CONTAINER else ""


def location_of(run_id: str, path: str) -> str:
    """A file, as values of metrics name it."""
    return f"{_LOCATION}{ORIGIN}/{container_of(run_id)}/{path}"


def path_of_location(location: str) -> str:
    """The path of the file that a value of a metric names."""
    if not location.startswith(_LOCATION):
        return location
    return location.removeprefix(_LOCATION).split("/", 2)[-1]


def artifact_document(run_id: str, path: str) -> dict[str, Any]:
    """A file."""
    container = container_of(run_id)
    return {
        "artifactId": f"{ORIGIN}/{container}/{path}",
        "origin": ORIGIN,
        "container": container,
        "path": path,
    }


def metric_document(run_id: str, metric: MetricRead) -> dict[str, Any]:
    """A metric with its values, each a row of columns."""
    rows: list[dict[str, Any]] = []
    for number, point in enumerate(metric.points):
        for row, data in enumerate(_rows(run_id, metric, point.value)):
            rows.append(
                {
                    "metricId": f"{number}-{row}",
                    "createdUtc": point.logged_at.isoformat(),
                    "step": point.step,
                    "data": data,
                }
            )
    columns = {
        name: _column_type(value) for row in reversed(rows) for name, value in row["data"].items()
    }
    if metric.type in _FILES:
        columns = {metric.name: "Artifact"}
    return {
        "dataContainerId": container_of(run_id),
        "name": metric.name,
        "columns": columns,
        "value": rows,
        "continuationToken": None,
        "properties": {"uxMetricType": _ux_type(metric.type)},
    }


def _rows(run_id: str, metric: MetricRead, value: Any) -> list[dict[str, Any]]:
    if metric.type in _FILES:
        return [{metric.name: location_of(run_id, metric.name)}]
    if metric.type == "image":
        return [{metric.name: location_of(run_id, str(value))}]
    if metric.type in ("list", "vector") and isinstance(value, list):
        return [{metric.name: item} for item in value]
    if metric.type == "table" and isinstance(value, dict):
        columns = {
            name: column if isinstance(column, list) else [column] for name, column in value.items()
        }
        longest = max(map(len, columns.values()), default=0)
        return [
            {name: column[i] for name, column in columns.items() if i < len(column)}
            for i in range(longest)
        ]
    if metric.type == "row" and isinstance(value, dict):
        return [value]
    return [{metric.name: value}]


def _ux_type(kind: str) -> str:
    return f"azureml.v2.{kind}" if kind in _FILES else _UX_TYPES.get(kind, "azureml.v1.scalar")


def _column_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "double"
    return "string"


def _error(run: Run) -> dict[str, Any] | None:
    if not run.error:
        return None
    found = {"code": run.error.get("code"), "message": run.error.get("message")}
    return {"error": found}
