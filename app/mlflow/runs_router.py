"""MLflow's calls about runs."""

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from app.auth.access import UserOrRunAccess
from app.auth.needs import needs
from app.auth.principal import Principal
from app.auth.shortcuts import Answer, Asked, NotPlain, shortcut
from app.kernel.db import Database, DatabaseDep, SessionDep
from app.mlflow import logged_models, run_documents, tracked, writes
from app.mlflow.access import CallerDep, WorkspaceName, caller_of, no_such_run, required_run
from app.mlflow.refusals import MlflowRoute
from app.mlflow.run_schemas import (
    BatchLog,
    InputsLog,
    MetricLog,
    MetricSent,
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
from app.workspaces.access import WorkspaceIdDep, entered_workspace

router = APIRouter(prefix="/mlflow/runs", tags=["mlflow"], route_class=MlflowRoute)


async def _create(asked: Asked) -> Answer:
    body = asked.parse(RunCreate)
    workspace_id = entered_workspace(asked)
    made = await tracked.create_at_once(asked.database.direct, asked.scope, workspace_id, body)
    if made is None:
        raise NotPlain
    return _answer({"run": made})


@router.post("/create")
@shortcut(_create)
@needs("runs.write", run=True)
async def create_mlflow_run(
    body: RunCreate,
    workspace: WorkspaceName,
    workspace_id: WorkspaceIdDep,
    principal: UserOrRunAccess,
    database: DatabaseDep,
    request: Request,
) -> Response:
    """A run that its client keeps by itself."""
    at_once = await tracked.create_at_once(database.direct, request.scope, workspace_id, body)
    if at_once is not None:
        return _json({"run": at_once})
    async with database.session() as session:
        caller = await caller_of(session, workspace, principal)
        run = await tracked.create(session, caller, body)
    return _json({"run": await run_documents.find(database.direct, run.id, run.workspace_id)})


async def _get(asked: Asked) -> Answer:
    wanted = asked.query("run_id").get("run_id")
    if not wanted:
        raise NotPlain
    workspace_id = entered_workspace(asked)
    return _answer(await _found(asked.database, asked.principal, workspace_id, wanted))


@router.get("/get")
@shortcut(_get, has_query=True)
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
    return _json(await _found(database, principal, workspace_id, wanted))


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


async def _search(asked: Asked) -> Answer:
    body = asked.parse(RunSearch)
    workspace_id = entered_workspace(asked)
    direct = asked.database.direct
    return _answer(await search_runs(direct, asked.principal, workspace_id, body))


@router.post("/search")
@shortcut(_search)
@needs("runs.read", run=True, audited=False)
async def search_mlflow_runs(
    body: RunSearch, workspace_id: WorkspaceIdDep, principal: UserOrRunAccess, database: DatabaseDep
) -> Response:
    """Runs that a filter selects."""
    return _json(await search_runs(database.direct, principal, workspace_id, body))


async def _log_metric(asked: Asked) -> Answer:
    body = asked.parse(MetricLog)
    return await _logged(asked, body.run, [body])


@router.post("/log-metric")
@shortcut(_log_metric)
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


async def _log_batch(asked: Asked) -> Answer:
    body = asked.parse(BatchLog)
    if body.params or body.tags:
        raise NotPlain
    return await _logged(asked, body.run, body.metrics)


@router.post("/log-batch")
@shortcut(_log_batch)
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


async def _logged(asked: Asked, run_id: str, metrics: Sequence[MetricSent]) -> Answer:
    is_stored = await writes.log_metrics_at_once(
        asked.database,
        asked.principal,
        workspace=asked.path["workspace"],
        run_id=run_id,
        metrics=metrics,
    )
    if not is_stored:
        raise NotPlain
    return Answer(b"{}\n")


async def _found(
    database: Database, principal: Principal, workspace_id: str, run_id: str
) -> dict[str, Any]:
    script_run_id = principal.id if principal.kind == "run" else ""
    found = await run_documents.find(
        database.direct, run_id, workspace_id, script_run_id=script_run_id
    )
    if found is None:
        raise no_such_run(run_id)
    return {"run": found}


def _answer(document: dict[str, Any]) -> Answer:
    return Answer(_bytes(document))


def _json(document: dict[str, Any]) -> Response:
    return Response(_bytes(document), media_type="application/json")


def _bytes(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
