"""Runs as MLflow's clients read them."""

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Row, Select, Text, and_, any_, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.expression import CollectionAggregate

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


async def documents(session: AsyncSession, run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Runs with all that belongs to them, in the order of the ids."""
    if not run_ids:
        return []
    rows = await _by_run(session, _infos(run_ids))
    metrics = await _by_run(session, _metrics(run_ids))
    params = await _by_run(session, _of(RunParam, run_ids))
    datasets = await _by_run(session, _of(RunDataset, run_ids))
    models = await _by_run(session, _of(RunModel, run_ids))
    return [
        {
            "info": _info(rows[run_id][0]),
            "data": {
                "metrics": [metric_document(row) for row in metrics.get(run_id, ())],
                "params": [{"key": row.key, "value": row.value} for row in params.get(run_id, ())],
                "tags": names.pairs(_tags(rows[run_id][0])),
            },
            "inputs": {
                "dataset_inputs": [_dataset(row) for row in datasets.get(run_id, ())],
                "model_inputs": [
                    {"model_id": row.model_id}
                    for row in models.get(run_id, ())
                    if not row.is_output
                ],
            },
            "outputs": {
                "model_outputs": [
                    {"model_id": row.model_id, "step": row.step}
                    for row in models.get(run_id, ())
                    if row.is_output
                ]
            },
        }
        for run_id in run_ids
        if run_id in rows
    ]


async def info(session: AsyncSession, run_id: str) -> dict[str, Any]:
    """What a run is, without what was logged."""
    return _info((await session.execute(_infos([run_id]))).one())


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


def _infos(run_ids: Sequence[str]) -> Select[Any]:
    return (
        select(*_COLUMNS)
        .join(Experiment, Experiment.id == Run.experiment_id)
        .where(Run.id == _any_of(run_ids))
    )


def _any_of(run_ids: Sequence[str]) -> CollectionAggregate[Any]:
    # One parameter, however many there are: the statement stays short, and the same.
    return any_(literal(list(run_ids), ARRAY(Text)))


def _metrics(run_ids: Sequence[str]) -> Select[Any]:
    return (
        select(
            MetricSummary.run_id,
            MetricSummary.name,
            MetricSummary.last.label("value"),
            MetricSummary.last_data.label("data"),
            MetricSummary.last_step.label("step"),
            MetricSummary.last_at.label("logged_at"),
        )
        .join(Run, and_(Run.id == MetricSummary.run_id, Run.attempt == MetricSummary.attempt))
        .where(MetricSummary.run_id == _any_of(run_ids), is_scalar())
        .order_by(MetricSummary.run_id, MetricSummary.name)
    )


def is_scalar() -> ColumnElement[bool]:
    """The condition for summaries of what MLflow calls a metric: numbers that the script logged."""
    return and_(MetricSummary.namespace == "", MetricSummary.type == "scalar")


def _of(table: type[RunParam | RunDataset | RunModel], run_ids: Sequence[str]) -> Select[Any]:
    columns, keys = table.__table__.c, table.__table__.primary_key
    return select(*columns).where(columns.run_id == _any_of(run_ids)).order_by(*keys)


async def _by_run(session: AsyncSession, statement: Select[Any]) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = {}
    for row in await session.execute(statement):
        found.setdefault(row.run_id, []).append(row)
    return found


def _info(row: Row[Any]) -> dict[str, Any]:
    experiment_id = names.experiment_id_of(row.experiment_id, row.experiment_name)
    document = {
        "run_id": row.run_id,
        "run_uuid": row.run_id,
        "run_name": row.run_name,
        "experiment_id": experiment_id,
        "user_id": row.user_id,
        "status": names.status_of(row.status),
        "start_time": milliseconds(row.started_at or row.created_at),
        "artifact_uri": places.run_root(experiment_id, row.run_id),
        "lifecycle_stage": names.lifecycle_of(row.deleted_at),
    }
    if row.ended_at is not None:
        document["end_time"] = milliseconds(row.ended_at)
    return document


def _tags(row: Row[Any]) -> dict[str, str | None]:
    """Tags, and what MLflow's tools expect to find among them."""
    found = {names.RUN_NAME_TAG: row.run_name, names.USER_TAG: row.user_id}
    if row.kind == "job":
        found["mlflow.source.type"] = "JOB"
        if row.entry_script:
            found["mlflow.source.name"] = row.entry_script
    return {**found, **row.tags}


def _dataset(row: Row[Any]) -> dict[str, Any]:
    about = {
        "name": row.name,
        "digest": row.digest,
        "source_type": row.source_type,
        "source": row.source,
        "schema": row.schema,
        "profile": row.profile,
    }
    return {
        "dataset": {key: value for key, value in about.items() if value is not None},
        "tags": names.pairs(row.tags),
    }
