"""Runs as MLflow's clients read them."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import orjson
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Row,
    ScalarSelect,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.direct import DirectPool, Statement
from app.mlflow import names, places
from app.mlflow.moments import milliseconds
from app.tables.experiment import Experiment
from app.tables.metric import MetricSummary
from app.tables.run import Run
from app.tables.tracking import RunDataset, RunModel, RunParam

_COLUMNS = (
    Run.id.label("run_id"),
    Run.experiment_id,
    Experiment.name.label("experiment_name"),
    names.run_name_column().label("run_name"),
    names.user_column().label("user_id"),
    Run.kind,
    Run.status,
    Run.created_at,
    Run.started_at,
    Run.ended_at,
    Run.deleted_at,
    Run.tags,
    Run.request["entry_script"].astext.label("entry_script"),
)
_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


async def find(
    direct: DirectPool, run_ids: Sequence[str], workspace_id: str, *, script_run_id: str = ""
) -> list[dict[str, Any]]:
    """Runs with all that belongs to them, in the order of the ids; in one round trip.

    Args:
        direct: connections to the database.
        run_ids: the runs.
        workspace_id: where they are.
        script_run_id: the run whose script asks, which sees no more than its own; empty: a user.
    """
    if not run_ids:
        return []
    given = {"workspace_id": workspace_id, "script_run_id": script_run_id}
    found = await direct.rows(_DOCUMENTS, run_ids=list(run_ids), **given)
    rows = {row["run_id"]: row for row in found}
    return [_document(rows[run_id]) for run_id in run_ids if run_id in rows]


def of_new_run(row: Mapping[str, Any]) -> dict[str, Any]:
    """A run of which nothing is known but what it was made with."""
    nothing = dict.fromkeys(
        ("ended_at", "deleted_at", "entry_script", "metrics", "params", "datasets", "models")
    )
    return _document({**nothing, **row})


async def info(session: AsyncSession, run_id: str) -> dict[str, Any]:
    """What a run is, without what was logged."""
    statement = _infos().where(Run.id == run_id)
    return _info((await session.execute(statement)).mappings().one())


def metric_document(row: Row[Any]) -> dict[str, Any]:
    """One value of a metric, from a row with name, value, data, step and logged_at."""
    return {
        "key": row.name,
        "value": number(row.value, row.data),
        "timestamp": milliseconds(row.logged_at),
        "step": row.step or 0,
    }


def number(value: float | None, data: dict[str, Any] | None) -> float | str:
    """A number as protocol buffers write it in JSON, which has no NaN and no infinity."""
    if value is not None and math.isfinite(value):
        return value
    word = str((data or {}).get("value", "nan")) if value is None else str(value)
    return _WORDS.get(word, "NaN")


def _infos() -> Select[Any]:
    return select(*_COLUMNS).join(Experiment, Experiment.id == Run.experiment_id)


def _gathered(
    entity: type[MetricSummary | RunParam | RunDataset | RunModel],
    names: Sequence[str],
    *conditions: ColumnElement[bool],
) -> ScalarSelect[Any]:
    """Rows of a run in the order of their keys, each as a list of these columns."""
    table = cast("Table", entity.__table__)
    row = func.jsonb_build_array(*[table.c[name] for name in names])
    gathered = func.jsonb_agg(aggregate_order_by(row, *table.primary_key))
    of_run = select(gathered).where(table.c.run_id == Run.id, *conditions)
    return of_run.correlate(Run).scalar_subquery()


_METRICS = _gathered(
    MetricSummary,
    ("name", "last", "last_data", "last_step", "last_at"),
    MetricSummary.attempt == Run.attempt,
    # What MLflow calls a metric: numbers that the script logged.
    MetricSummary.namespace == "",
    MetricSummary.type == "scalar",
)
_PARAMS = _gathered(RunParam, ("key", "value"))
_DATASETS = _gathered(
    RunDataset, ("name", "digest", "source_type", "source", "schema", "profile", "tags")
)
_MODELS = _gathered(RunModel, ("model_id", "is_output", "step"))
_DOCUMENTS = Statement(
    _infos()
    .add_columns(
        _METRICS.label("metrics"),
        _PARAMS.label("params"),
        _DATASETS.label("datasets"),
        _MODELS.label("models"),
    )
    .where(
        # One parameter, however many there are: the statement stays the same.
        Run.id == any_(bindparam("run_ids", type_=ARRAY(Text))),
        Run.workspace_id == bindparam("workspace_id"),
        or_(
            bindparam("script_run_id", type_=Text) == "",
            Run.id == bindparam("script_run_id", type_=Text),
            Run.creator_run_id == bindparam("script_run_id", type_=Text),
        ),
    )
)


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    models = _listed(row["models"])
    return {
        "info": _info(row),
        "data": {
            "metrics": [_metric(*found) for found in _listed(row["metrics"])],
            "params": [{"key": key, "value": value} for key, value in _listed(row["params"])],
            "tags": names.pairs(_tags(row, orjson.loads(row["tags"]))),
        },
        "inputs": {
            "dataset_inputs": [_dataset(*found) for found in _listed(row["datasets"])],
            "model_inputs": [
                {"model_id": model_id} for model_id, is_output, _ in models if not is_output
            ],
        },
        "outputs": {
            "model_outputs": [
                {"model_id": model_id, "step": step}
                for model_id, is_output, step in models
                if is_output
            ]
        },
    }


def _listed(text: str | None) -> list[Any]:
    found: list[Any] = [] if text is None else orjson.loads(text)
    return found


def _metric(
    name: str, value: float | None, data: dict[str, Any] | None, step: int | None, at: str
) -> dict[str, Any]:
    return {
        "key": name,
        "value": number(value, data),
        "timestamp": milliseconds(datetime.fromisoformat(at)),
        "step": step or 0,
    }


def _info(row: Mapping[str, Any]) -> dict[str, Any]:
    experiment_id = names.experiment_id_of(row["experiment_id"], row["experiment_name"])
    document = {
        "run_id": row["run_id"],
        "run_uuid": row["run_id"],
        "run_name": row["run_name"],
        "experiment_id": experiment_id,
        "user_id": row["user_id"],
        "status": names.status_of(row["status"]),
        "start_time": milliseconds(row["started_at"] or row["created_at"]),
        "artifact_uri": places.run_root(experiment_id, row["run_id"]),
        "lifecycle_stage": names.lifecycle_of(row["deleted_at"]),
    }
    if row["ended_at"] is not None:
        document["end_time"] = milliseconds(row["ended_at"])
    return document


def _tags(row: Mapping[str, Any], given: dict[str, str | None]) -> dict[str, str | None]:
    """Tags, and what MLflow's tools expect to find among them."""
    found = {names.RUN_NAME_TAG: row["run_name"], names.USER_TAG: row["user_id"]}
    if row["kind"] == "job":
        found["mlflow.source.type"] = "JOB"
        if row["entry_script"]:
            found["mlflow.source.name"] = row["entry_script"]
    return {**found, **given}


def _dataset(
    name: str,
    digest: str,
    source_type: str,
    source: str,
    schema: str | None,
    profile: str | None,
    tags: dict[str, str],
) -> dict[str, Any]:
    about = {
        "name": name,
        "digest": digest,
        "source_type": source_type,
        "source": source,
        "schema": schema,
        "profile": profile,
    }
    return {
        "dataset": {key: value for key, value in about.items() if value is not None},
        "tags": names.pairs(tags),
    }
