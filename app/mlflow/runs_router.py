"""MLflow's calls about runs."""

from typing import Any

import orjson
from fastapi import APIRouter, Response

from app.auth.access import UserOrRunAccess
from app.auth.needs import needs
from app.kernel.db import DatabaseDep, SessionDep
from app.mlflow import logged_models, run_documents, tracked, writes
from app.mlflow.access import CallerDep, WorkspaceName, caller_of, no_such_run, required_run
from app.mlflow.schemas import (
    BatchLog,
    InputsLog,
    MetricLog,
    ModelLog,
    OfRun,
    OutputsLog,
    ParamLog,
    RunCreate,
    RunSearch,
    RunUpdate,
    TagDelete,
    TagSet,
)
from app.mlflow.search.run_search import search_runs
from app.workspaces.access import WorkspaceIdDep

router = APIRouter(prefix="/mlflow/runs", tags=["mlflow"])


@router.post("/create")
@needs("runs.write", run=True)
async def create_mlflow_run(
    body: RunCreate,
    workspace: WorkspaceName,
    workspace_id: WorkspaceIdDep,
    principal: UserOrRunAccess,
    database: DatabaseDep,
) -> Response:
    """A run that its client keeps by itself."""
    at_once = await tracked.create_at_once(database.direct, principal, workspace_id, body)
    if at_once is not None:
        return _json({"run": at_once})
    async with database.session() as session:
        caller = await caller_of(session, workspace, principal)
        run = await tracked.create(session, caller, body)
    (made,) = await run_documents.find(database.direct, [run.id], run.workspace_id)
    return _json({"run": made})


@router.get("/get")
@needs("runs.read", run=True)
async def get_mlflow_run(
    workspace_id: WorkspaceIdDep,
    principal: UserOrRunAccess,
    database: DatabaseDep,
    run_id: str = "",
    run_uuid: str = "",
) -> Response:
    """One run with the last value of each metric."""
    wanted = required_run(run_id or run_uuid)
    script_run_id = principal.id if principal.kind == "run" else ""
    found = await run_documents.find(
        database.direct, [wanted], workspace_id, script_run_id=script_run_id
    )
    if not found:
        raise no_such_run(wanted)
    return _json({"run": found[0]})


@router.post("/update")
@needs("runs.write", run=True)
async def update_mlflow_run(
    body: RunUpdate, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """State, end and name."""
    run = await tracked.update(session, caller, body)
    return {"run_info": await run_documents.info(session, run.id)}


@router.post("/delete")
@needs("runs.write", run=True)
async def delete_mlflow_run(body: OfRun, caller: CallerDep, session: SessionDep) -> dict[str, Any]:
    """Hide it."""
    await tracked.delete(session, caller, body.run)
    return {}


@router.post("/restore")
@needs("runs.write", run=True)
async def restore_mlflow_run(body: OfRun, caller: CallerDep, session: SessionDep) -> dict[str, Any]:
    """Show it again."""
    await tracked.restore(session, caller, body.run)
    return {}


@router.post("/search")
@needs("runs.read", run=True, audited=False)
async def search_mlflow_runs(
    body: RunSearch, workspace_id: WorkspaceIdDep, principal: UserOrRunAccess, database: DatabaseDep
) -> Response:
    """Runs that a filter selects."""
    return _json(await search_runs(database.direct, principal, workspace_id, body))


@router.post("/log-metric")
@needs("runs.write", run=True, audited=False)
async def log_mlflow_metric(
    body: MetricLog, workspace: WorkspaceName, principal: UserOrRunAccess, database: DatabaseDep
) -> dict[str, Any]:
    """One value of a metric."""
    if not await writes.log_metrics_at_once(
        database, principal, workspace=workspace, run_id=body.run, metrics=[body]
    ):
        async with database.session() as session:
            caller = await caller_of(session, workspace, principal)
            run = await writes.writable_run(session, caller, body.run)
            writes.check_open(run)
            await writes.log_metrics(session, caller, run, [body])
    return {}


@router.post("/log-parameter")
@needs("runs.write", run=True, audited=False)
async def log_mlflow_param(
    body: ParamLog, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """One parameter, once."""
    run = await writes.writable_run(session, caller, body.run)
    writes.check_open(run)
    await writes.log_params(session, caller, run, [body])
    return {}


@router.post("/set-tag")
@needs("runs.write", run=True, audited=False)
async def set_mlflow_tag(body: TagSet, caller: CallerDep, session: SessionDep) -> dict[str, Any]:
    """One tag."""
    run = await writes.writable_run(session, caller, body.run)
    await writes.set_tags(session, run.id, {body.key: body.value})
    return {}


@router.post("/delete-tag")
@needs("runs.write", run=True, audited=False)
async def delete_mlflow_tag(
    body: TagDelete, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Remove one tag."""
    run = await writes.writable_run(session, caller, body.run)
    await writes.delete_tag(session, run.id, body.key)
    return {}


@router.post("/log-batch")
@needs("runs.write", run=True, audited=False)
async def log_mlflow_batch(
    body: BatchLog, workspace: WorkspaceName, principal: UserOrRunAccess, database: DatabaseDep
) -> dict[str, Any]:
    """Metrics, parameters and tags: all of them or none."""
    is_more = body.params or body.tags
    if is_more or not await writes.log_metrics_at_once(
        database, principal, workspace=workspace, run_id=body.run, metrics=body.metrics
    ):
        async with database.session() as session:
            caller = await caller_of(session, workspace, principal)
            await writes.log_batch(session, caller, body)
    return {}


@router.post("/log-inputs")
@needs("runs.write", run=True, audited=False)
async def log_mlflow_inputs(
    body: InputsLog, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """What the run has read."""
    run = await writes.writable_run(session, caller, body.run)
    await writes.log_datasets(session, run, body.datasets)
    await writes.link_models(session, caller, run, body.models, is_output=False)
    return {}


@router.post("/outputs")
@needs("runs.write", run=True, audited=False)
async def log_mlflow_outputs(
    body: OutputsLog, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """What the run has made."""
    run = await writes.writable_run(session, caller, body.run)
    await writes.link_models(session, caller, run, body.models, is_output=True)
    return {}


@router.post("/log-model")
@needs("runs.write", run=True, audited=False)
async def log_mlflow_model(
    body: ModelLog, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """What clients before version 3 tell about a model that they have uploaded."""
    run = await writes.writable_run(session, caller, body.run)
    await logged_models.note_in_history(session, run.id, body.model_json)
    return {}


def _json(document: dict[str, Any]) -> Response:
    return Response(
        orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE), media_type="application/json"
    )
