"""The calls that the real ``azureml-core`` package makes about runs (contract, 2.12)."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from app.auth.access import AnyAccess
from app.auth.needs import needs
from app.azureml import children, service
from app.azureml.access import (
    SCOPE,
    AzureRunDep,
    ScopeDep,
    check_current,
    find_visible,
    get_visible,
)
from app.azureml.documents import details_document, run_document
from app.azureml.errors import ExperimentNotFound
from app.azureml.schemas import ChildRunSent, ChildRunsSent, RunEventSent, RunEventsSent, RunQuery
from app.kernel.db import SessionDep
from app.kernel.urls import base_url
from app.runs import repository
from app.runs import service as runs
from app.runs.access import RunId
from app.runs.schemas import RunUpdate
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
_BY_NAME = f"{_HISTORY}/experiments/{{experiment_name}}"
_EXPERIMENTS = (
    f"{_HISTORY}/experimentids/{{experiment_id}}/runs/{{azureml_run_id}}",
    f"{_BY_NAME}/runs/{{azureml_run_id}}",
)


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


@router.get(f"{_HISTORY}/runs/{{azureml_run_id}}")
@needs("runs.read", run=True)
async def get_azureml_run_of_workspace(
    run: AzureRunDep, workspace: ScopeDep, session: SessionDep
) -> dict[str, Any]:
    """The run, whatever its experiment."""
    return await _document(session, run, workspace)


@router.get(f"{_EXPERIMENTS[0]}/details")
@router.get(f"{_EXPERIMENTS[1]}/details")
@needs("runs.read", run=True)
async def get_azureml_run_details(run: AzureRunDep, session: SessionDep) -> dict[str, Any]:
    """More about the run."""
    _, clusters = await repository.names(session, [run])
    return details_document(run, target=clusters.get(run.cluster_id or ""))


@router.patch(_EXPERIMENTS[0])
@router.patch(_EXPERIMENTS[1])
@needs("runs.write", run=True, audited=False)
async def update_azureml_run(
    azureml_run_id: RunId,
    workspace: ScopeDep,
    body: ChildRunSent,
    session: SessionDep,
    caller: AnyAccess,
) -> dict[str, Any]:
    """Tags, properties and names, never the state; an id that is new is a run below another."""
    run = await find_visible(session, workspace, azureml_run_id, caller)
    if run is None:
        made = await children.create(session, workspace, caller, azureml_run_id, body)
        return await _document(session, made, workspace)
    await check_current(session, caller, run)
    changed = await runs.update(
        session,
        run,
        service.run_update(body),
        actor=caller.name,
        attempt=caller.attempt if run.id == caller.id else 0,
    )
    return await _document(session, changed, workspace)


@router.delete(f"{_EXPERIMENTS[0]}/tags")
@router.delete(f"{_EXPERIMENTS[1]}/tags")
@needs("runs.write", run=True, audited=False)
async def remove_azureml_tags(
    run: AzureRunDep,
    session: SessionDep,
    caller: AnyAccess,
    keys: Annotated[list[str], Body(max_length=1000)],
) -> dict[str, Any]:
    """Remove tags; those that are not there are no error."""
    await check_current(session, caller, run)
    body = service.read_as(RunUpdate, {"tags": dict.fromkeys(keys)})
    attempt = caller.attempt if run.id == caller.id else 0
    await runs.update(session, run, body, actor=caller.name, attempt=attempt)
    return {"errors": {}}


@router.get(f"{_EXPERIMENTS[0]}/children")
@router.get(f"{_EXPERIMENTS[1]}/children")
@needs("runs.read", run=True)
async def list_azureml_children(
    run: AzureRunDep, workspace: ScopeDep, session: SessionDep
) -> dict[str, Any]:
    """The runs directly below a run."""
    return await _documents(session, await children.below(session, run), workspace)


@router.post(f"{_BY_NAME}/runs:query")
@needs("runs.read", run=True)
async def query_azureml_runs(
    body: RunQuery, workspace: ScopeDep, session: SessionDep, caller: AnyAccess
) -> dict[str, Any]:
    """A run and all that are below it."""
    found = await children.query(session, workspace, caller, body.filter or "")
    return await _documents(session, found, workspace)


@router.patch(f"{_BY_NAME}/batch/runs")
@needs("runs.write", run=True, audited=False)
async def create_azureml_children(
    body: ChildRunsSent, workspace: ScopeDep, session: SessionDep, caller: AnyAccess
) -> dict[str, Any]:
    """Several runs below another one; by the ids that the package gave them."""
    made = {}
    for sent in body.runs:
        run_id = sent.run_id or ""
        run = await children.create(session, workspace, caller, run_id, sent)
        made[run_id] = await _document(session, run, workspace)
    return {"runs": made, "errors": {}}


@router.post(f"{_BY_NAME}/batch/events")
@needs("runs.write", run=True, audited=False)
async def send_azureml_events(
    body: RunEventsSent, workspace: ScopeDep, session: SessionDep, caller: AnyAccess
) -> dict[str, Any]:
    """What the package reports of several runs."""
    for event in body.events:
        run_id = str((event.data or {}).get("RunId") or (event.data or {}).get("runId") or "")
        run = await get_visible(session, workspace, run_id, caller)
        await check_current(session, caller, run)
        await children.note(session, run, event, actor=caller.name)
    return {"errors": []}


@router.post(f"{_EXPERIMENTS[0]}/events")
@router.post(f"{_EXPERIMENTS[1]}/events")
@router.post(f"{_HISTORY}/runs/{{azureml_run_id}}/events")
@needs("runs.write", run=True, audited=False)
async def send_azureml_run_event(
    run: AzureRunDep, body: RunEventSent, session: SessionDep, caller: AnyAccess
) -> dict[str, str]:
    """What the package reports of a run; the exit code decides about a job, not this."""
    await check_current(session, caller, run)
    await children.note(session, run, body, actor=caller.name)
    return {}


async def _document(session: SessionDep, run: Run, workspace: Workspace) -> dict[str, Any]:
    experiment = await session.get_one(Experiment, run.experiment_id)
    return run_document(run, experiment, workspace)


async def _documents(session: SessionDep, found: list[Run], workspace: Workspace) -> dict[str, Any]:
    documents = [await _document(session, run, workspace) for run in found]
    return {"value": documents, "continuationToken": None}
