"""Logged models: what MLflow 3 makes of ``log_model``."""

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.clock import utc_now
from app.kernel.odd_rows import one, shown_rows
from app.kernel.tags import merged_tags
from app.mlflow import experiments, names, places, run_documents, writes
from app.mlflow.access import Caller
from app.mlflow.errors import InvalidParameter, NoSuchResource
from app.mlflow.moments import milliseconds
from app.mlflow.registry_schemas import LoggedModelCreate
from app.mlflow.schemas import ParamSent
from app.runs.transitions import lock_run
from app.tables.experiment import Experiment
from app.tables.model import Model, ModelVersion
from app.tables.run import Run
from app.tables.tracking import LoggedModel, LoggedModelMetric

_HISTORY_TAG = "mlflow.log-model.history"
_VERSIONS_TAG = "mlflow.modelVersions"
_MAX_HISTORY_CHARACTERS = 1_000_000
_MOST_PARAMS = 10_000
_NOT_IN_NAMES = ("/", ":", ".", "%", '"', "'")
_TOLD = frozenset({"artifact_path", "flavors", "run_id", "utc_time_created"})


async def create(session: AsyncSession, caller: Caller, body: LoggedModelCreate) -> LoggedModel:
    """Write a logged model whose files will follow.

    Its files are files of its run; one that is logged outside of runs has files of its own.

    Raises:
        InvalidParameter: run and experiment do not belong together, or the name is none.
        NoSuchResource: there is no such run or experiment for the caller.
    """
    if any(sign in body.name for sign in _NOT_IN_NAMES):
        raise InvalidParameter(
            f"Invalid model name ({body.name!r}) provided. Model name must be a non-empty string "
            f"and cannot contain the following characters: {_NOT_IN_NAMES}"
        )
    experiment = await experiments.get(session, caller, body.experiment_id)
    experiments.check_active(experiment)
    model_id = f"m-{uuid.uuid4().hex}"
    run_id = body.source_run_id or (caller.principal.id if caller.is_script else "")
    if run_id:
        await writes.writable_run(session, caller, run_id)
    row = LoggedModel(
        id=model_id,
        workspace_id=caller.workspace.id,
        experiment_id=experiment.id,
        run_id=run_id or None,
        name=body.name or model_id,
        model_type=body.model_type,
        status="LOGGED_MODEL_PENDING",
        tags={tag.key: tag.value for tag in body.tags},
        params={param.key: param.value for param in body.params},
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


async def get(
    session: AsyncSession, caller: Caller, model_id: str, *, with_deleted: bool = False
) -> LoggedModel:
    """A logged model that the caller may see, or that has been registered.

    Raises:
        NoSuchResource: there is none such for the caller.
    """
    statement = (
        select(LoggedModel)
        .outerjoin(Run, Run.id == LoggedModel.run_id)
        .where(
            LoggedModel.id == model_id,
            LoggedModel.workspace_id == caller.workspace.id,
            or_(seen(caller), _registered(caller, model_id)),
        )
    )
    if not with_deleted:
        statement = statement.where(LoggedModel.deleted_at.is_(None))
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NoSuchResource(f"Logged model with ID '{model_id}' not found.")
    return row


def _registered(caller: Caller, model_id: str) -> ColumnElement[bool]:
    """Whether a version in the caller's workspace was made of it."""
    return exists().where(
        ModelVersion.logged_model_id == model_id,
        ModelVersion.model_id == Model.id,
        Model.workspace_id == caller.workspace.id,
    )


def seen(caller: Caller) -> ColumnElement[bool]:
    """The condition for logged models of a workspace, joined with their runs, to be the caller's.

    Those of no run are for users: a script sees what its own run has made.
    """
    if caller.is_script:
        return caller.sees()
    return or_(LoggedModel.run_id.is_(None), caller.sees())


async def own(session: AsyncSession, caller: Caller, model_id: str) -> LoggedModel:
    """A logged model that the caller may change, locked.

    Raises:
        NoSuchResource: there is none such, or its run is not the caller's.
    """
    row = await get(session, caller, model_id)
    await check_writable(session, caller, row)
    await session.refresh(row, with_for_update=True)
    return row


async def check_writable(session: AsyncSession, caller: Caller, row: LoggedModel) -> None:
    """Refuse to change a model that is not the caller's.

    Raises:
        NoSuchResource: its run is not the caller's, or it has none and the caller is a script.
    """
    if row.run_id is not None:
        await writes.writable_run(session, caller, row.run_id)
    elif caller.is_script:
        raise NoSuchResource(f"Logged model with ID '{row.id}' not found.")


def add_params(row: LoggedModel, params: Sequence[ParamSent]) -> None:
    """Write parameters once.

    Raises:
        InvalidParameter: one has another value already, or there would be too many.
    """
    after = dict(row.params)
    for param in params:
        held = after.setdefault(param.key, param.value)
        if held != param.value:
            raise InvalidParameter(f"Param '{param.key}' of the model is {held!r} already.")
    if len(after) > _MOST_PARAMS:
        raise InvalidParameter(f"At most {_MOST_PARAMS} params are kept of a model.")
    row.params = after


def remove_tag(row: LoggedModel, key: str) -> None:
    """Remove a tag.

    Raises:
        NoSuchResource: it has none such.
    """
    if key not in row.tags:
        raise NoSuchResource(f"No tag with key {key!r} found for model with ID {row.id!r}.")
    row.tags = merged_tags(row.tags, {key: None})


def delete(row: LoggedModel) -> None:
    """Hide it; its files remain."""
    row.deleted_at = utc_now()


async def document(session: AsyncSession, row: LoggedModel) -> dict[str, Any]:
    """A logged model as clients read it.

    Raises:
        RowUnreadable: its row is odd.
    """
    read_one = await _reader(session, [row])
    with one(row):
        return read_one(row)


async def documents(session: AsyncSession, rows: Sequence[LoggedModel]) -> list[dict[str, Any]]:
    """Logged models as clients read them, without those whose rows are odd."""
    return shown_rows(rows, await _reader(session, rows))


async def _reader(
    session: AsyncSession, rows: Sequence[LoggedModel]
) -> Callable[[LoggedModel], dict[str, Any]]:
    ids = [row.id for row in rows]
    named = dict(
        (
            await session.execute(
                select(Experiment.id, Experiment.name).where(
                    Experiment.id.in_({row.experiment_id for row in rows})
                )
            )
        ).all()
    )
    metrics: dict[str, list[dict[str, Any]]] = {}
    one = LoggedModelMetric
    same = (one.model_id, one.run_id, one.name, one.dataset_name, one.dataset_digest)
    newest = (
        select(one)
        .where(one.model_id.in_(ids))
        .ext(distinct_on(*same))
        .order_by(*same, one.step.desc(), one.logged_at.desc(), one.seq)
    )
    for metric in (await session.execute(newest)).scalars():
        metrics.setdefault(metric.model_id, []).append(_metric(metric))
    registrations: dict[str, list[tuple[str, int]]] = {}
    registered = (
        select(ModelVersion.logged_model_id, Model.name, ModelVersion.version)
        .join(Model, Model.id == ModelVersion.model_id)
        .join(LoggedModel, LoggedModel.id == ModelVersion.logged_model_id)
        .where(LoggedModel.id.in_(ids), Model.workspace_id == LoggedModel.workspace_id)
        .order_by(ModelVersion.created_at, ModelVersion.id)
    )
    for model_id, name, version in await session.execute(registered):
        registrations.setdefault(model_id, []).append((name, version))
    return lambda row: _document(
        row,
        names.experiment_id_of(row.experiment_id, named[row.experiment_id]),
        metrics.get(row.id, []),
        registrations.get(row.id, []),
    )


async def note_in_history(session: AsyncSession, run_id: str, model_json: str) -> None:
    """Keep what clients before version 3 tell about a model, where they look for it: in a tag.

    Raises:
        InvalidParameter: it is no JSON object, or one that says too little.
    """
    try:
        told = json.loads(model_json)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter("Malformed model info: model_json is not a valid JSON.") from error
    if not isinstance(told, dict):
        raise InvalidParameter("Malformed model info: model_json is not an object.")
    missing = sorted(_TOLD - told.keys())
    if missing:
        raise InvalidParameter(f"Model json is missing mandatory fields: {missing}")
    run = await lock_run(session, run_id)
    history = json.dumps([*_history(run.tags.get(_HISTORY_TAG)), told])
    if len(history) > _MAX_HISTORY_CHARACTERS:
        raise InvalidParameter(
            f"The tag {_HISTORY_TAG} of this run has no room for another model: it may have "
            f"{_MAX_HISTORY_CHARACTERS} characters."
        )
    run.tags = {**run.tags, _HISTORY_TAG: history}


def _history(tag: str | None) -> list[Any]:
    try:
        told = json.loads(tag or "[]")
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, list):
        raise InvalidParameter(f"The tag {_HISTORY_TAG} of this run holds no list of models.")
    return told


def _document(
    row: LoggedModel,
    experiment_id: str,
    metrics: list[dict[str, Any]],
    registrations: list[tuple[str, int]],
) -> dict[str, Any]:
    tags = dict(row.tags)
    if registrations:
        told = [{"name": name, "version": version} for name, version in registrations]
        tags[_VERSIONS_TAG] = json.dumps(told)
    return {
        "info": {
            "model_id": row.id,
            "experiment_id": experiment_id,
            "name": row.name,
            "creation_timestamp_ms": milliseconds(row.created_at),
            "last_updated_timestamp_ms": milliseconds(row.updated_at),
            "artifact_uri": places.model_root(experiment_id, row.id),
            "status": row.status,
            "model_type": row.model_type,
            **({"source_run_id": row.run_id} if row.run_id else {}),
            "tags": names.pairs(tags),
            "registrations": [
                {"name": name, "version": str(version)} for name, version in registrations
            ],
        },
        "data": {"params": names.pairs(row.params), "metrics": metrics},
    }


def _metric(row: LoggedModelMetric) -> dict[str, Any]:
    return {
        "key": row.name,
        "value": run_documents.number(row.value, None),
        "timestamp": milliseconds(row.logged_at),
        "step": row.step,
        "dataset_name": row.dataset_name,
        "dataset_digest": row.dataset_digest,
        "model_id": row.model_id,
        "run_id": row.run_id,
    }
