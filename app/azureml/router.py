"""The calls that the real ``azureml-core`` package makes from inside a run (contract, 2.12)."""

from typing import Any

from fastapi import APIRouter, Request

from app.auth.access import AnyAccess, UserOrRunAccess
from app.auth.needs import needs
from app.azureml import service
from app.azureml.access import SCOPE, AzureRunDep, ScopeDep, check_current
from app.azureml.errors import CallNotServed, ExperimentNotFound
from app.azureml.schemas import MetricBatchSent, RunEventSent, RunPatch
from app.kernel.db import SessionDep
from app.kernel.errors import Conflict
from app.kernel.urls import base_url
from app.runs import service as runs
from app.runs.states import TERMINAL
from app.runs.transitions import add_event, lock_run
from app.tables.experiment import Experiment
from app.tables.run import Run
from app.tables.workspace import Workspace

router = APIRouter(tags=["azureml"], include_in_schema=False)

_SERVICES = (
    "hyperdrive",
    "studio",
    "pipelines",
    "mlflow",
    "notebooks",
    "credential",
    "run",
    "api",
    "history",
    "metric",
    "artifact",
    "experimentation",
    "modelmanagement",
    "project",
)
_HISTORY = f"/history/v1.0{SCOPE}"
_EXPERIMENTS = (
    f"{_HISTORY}/experimentids/{{experiment_id}}/runs/{{run_id}}",
    f"{_HISTORY}/experiments/{{experiment_name}}/runs/{{run_id}}",
)
_METRIC = f"/metric/v2.0{SCOPE}/runs/{{run_id}}"


@router.get("/discovery/{token}")
@needs("any-credential")
async def discover_azureml_services(token: str, request: Request, _: AnyAccess) -> dict[str, str]:
    """Where the services are: all of them here. The token was checked with the address."""
    return dict.fromkeys(_SERVICES, base_url(request))


@router.get(_EXPERIMENTS[0])
@needs("runs.read", run=True)
async def get_azureml_run(
    run: AzureRunDep, workspace: ScopeDep, experiment_id: str, session: SessionDep
) -> dict[str, Any]:
    """The run."""
    if run.experiment_id != experiment_id:
        raise ExperimentNotFound("The run does not belong to this experiment.")
    return await _document(session, run, workspace)


@router.get(_EXPERIMENTS[1])
@needs("runs.read", run=True)
async def get_azureml_run_by_name(
    run: AzureRunDep, workspace: ScopeDep, experiment_name: str, session: SessionDep
) -> dict[str, Any]:
    """The run, under the name of its experiment."""
    document = await _document(session, run, workspace)
    if document["experimentName"] != experiment_name:
        raise ExperimentNotFound("The run does not belong to this experiment.")
    return document


@router.patch(_EXPERIMENTS[0])
@router.patch(_EXPERIMENTS[1])
@needs("runs.write", run=True)
async def update_azureml_run(
    run: AzureRunDep,
    workspace: ScopeDep,
    body: RunPatch,
    session: SessionDep,
    caller: AnyAccess,
) -> dict[str, Any]:
    """Tags, properties and names; never the state."""
    check_current(caller, run)
    changed = await runs.update(
        session, run, service.run_update(body), actor=caller.name, attempt=caller.attempt
    )
    return await _document(session, changed, workspace)


@router.post(f"{_EXPERIMENTS[0]}/events")
@router.post(f"{_EXPERIMENTS[1]}/events")
@router.post(f"{_HISTORY}/runs/{{run_id}}/events")
@needs("runs.write", run=True)
async def send_azureml_run_event(
    run: AzureRunDep, body: RunEventSent, session: SessionDep, caller: AnyAccess
) -> dict[str, str]:
    """Note what the client reports, such as that it is complete; the state stays as it is."""
    check_current(caller, run)
    locked = await lock_run(session, run.id)
    if locked.status not in TERMINAL:
        data = {"name": body.name}
        add_event(session, locked, kind="client_event", actor=caller.name, data=data)
    return {}


@router.post(f"{_METRIC}/batch")
@needs("runs.write", run=True)
async def send_azureml_metrics(
    run: AzureRunDep, body: MetricBatchSent, session: SessionDep, caller: AnyAccess
) -> dict[str, Any]:
    """Metrics; a batch sent again changes nothing."""
    check_current(caller, run)
    if run.status in TERMINAL:
        raise Conflict(f"The run is {run.status}; nothing more can be logged.")
    refused = await service.store_batch(session, run, body.values)
    return {"report": None, "errors": refused}


@router.get(f"{_METRIC}/metricsingest/wait")
@router.post(f"{_METRIC}/metricsingest/wait")
@router.get(f"{_EXPERIMENTS[0]}/metricsingest/wait")
@router.get(f"{_EXPERIMENTS[1]}/metricsingest/wait")
@needs("runs.read", run=True)
async def wait_for_azureml_metrics(run: AzureRunDep) -> dict[str, str]:
    """Metrics are stored when their batch is answered: there is nothing to wait for."""
    return {}


@router.api_route("/history/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@router.api_route("/metric/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@router.api_route("/artifact/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@needs("account.read", run=True)
async def refuse_azureml_call(request: Request, _: UserOrRunAccess) -> None:
    """Everything else of the package's services is not served, and says so."""
    raise CallNotServed(
        f"{request.method} {request.url.path} of the azureml-core package is not served here."
    )


async def _document(session: SessionDep, run: Run, workspace: Workspace) -> dict[str, Any]:
    experiment = await session.get_one(Experiment, run.experiment_id)
    return service.run_document(run, experiment, workspace)
