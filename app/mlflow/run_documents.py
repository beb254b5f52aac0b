"""Runs as MLflow's clients read them.

Metrics and parameters, of which there may be many, are written as JSON by the database.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson
from orjson import Fragment
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Row,
    ScalarSelect,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy import cast as cast_to
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.direct import DirectPool, Statement
from app.mlflow import names, places
from app.mlflow.moments import milliseconds, milliseconds_of
from app.tables.experiment import Experiment
from app.tables.metric import MetricSummary
from app.tables.run import Run
from app.tables.tracking import RunDataset, RunModel, RunParam

_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_NOTHING = Fragment(b"[]")
_COLUMNS = (
    Run.id.label("run_id"),
    Run.experiment_id,
    Experiment.name.label("experiment_name"),
    names.run_name_column().label("run_name"),
    names.user_column().label("user_id"),
    Run.kind,
    Run.status,
    cast_to(milliseconds_of(func.coalesce(Run.started_at, Run.created_at)), BigInteger).label(
        "start_time"
    ),
    cast_to(milliseconds_of(Run.ended_at.expression), BigInteger).label("end_time"),
    Run.deleted_at,
    Run.tags,
    Run.request["entry_script"].astext.label("entry_script"),
)


async def find(
    direct: DirectPool, run_id: str, workspace_id: str, *, script_run_id: str = ""
) -> dict[str, Any] | None:
    """A run with all that belongs to it, in one round trip; None: there is none such.

    Args:
        direct: connections to the database.
        run_id: the run.
        workspace_id: where it is.
        script_run_id: the run whose script asks, which sees no more than its own; empty: a user.
    """
    row = await direct.row(
        _ONE, run_id=run_id, workspace_id=workspace_id, script_run_id=script_run_id
    )
    return None if row is None else document(row)


def of_new_run(row: Mapping[str, Any]) -> dict[str, Any]:
    """A run of which nothing is known but what it was made with."""
    nothing = dict.fromkeys(
        ("end_time", "deleted_at", "entry_script", "metrics", "params", "datasets", "models")
    )
    return document({**nothing, **row})


async def info(session: AsyncSession, run_id: str) -> dict[str, Any]:
    """What a run is, without what was logged."""
    statement = (
        select(*_COLUMNS)
        .join(Experiment, Experiment.id == Run.experiment_id)
        .where(Run.id == run_id)
    )
    return _info(dict((await session.execute(statement)).mappings().one()))


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


def in_order(source: FromClause) -> Select[Any]:
    """The statement for what `document` takes, of runs in the order of their ids.

    Args:
        source: its column ``ids`` is an array of them.
    """
    given = func.unnest(source.c.ids).table_valued("id", with_ordinality="place")
    given = given.render_derived("given")
    return (
        select(
            *_COLUMNS,
            *_LOGGED,
            _if_any(RunDataset, source, _DATASETS).label("datasets"),
            _if_any(RunModel, source, _MODELS).label("models"),
        )
        .select_from(source.join(given, true()))
        .join(Run, Run.id == given.c.id)
        .join(Experiment, Experiment.id == Run.experiment_id)
        .order_by(given.c.place)
    )


def _if_any(
    entity: type[RunDataset | RunModel], source: FromClause, gathered: ScalarSelect[Any]
) -> ColumnElement[Any]:
    """What has been gathered; one look spares a page whose runs have none a look for each."""
    there = select(true()).select_from(source).where(entity.run_id == any_(source.c.ids))
    return case((there.exists(), gathered))


def _word(text: str) -> ColumnElement[str]:
    """A text of ours in a statement: as a parameter it would be sent each time."""
    return literal_column(f"'{text}'", Text)


def _of_run(
    entity: type[Any], gathered: ColumnElement[Any], *conditions: ColumnElement[bool]
) -> ScalarSelect[Any]:
    found = select(gathered).where(entity.run_id == Run.id, *conditions)
    return found.correlate(Run).scalar_subquery()


def _written(
    entity: type[Any], fields: Mapping[str, ColumnElement[Any]], *conditions: ColumnElement[bool]
) -> ScalarSelect[Any]:
    """Rows of a run in the order of their keys, as JSON: objects with these fields."""
    parts: list[ColumnElement[Any]] = []
    for name, field in fields.items():
        parts += [_word(("{" if not parts else ",") + f'"{name}":'), field]
    row = func.concat(*parts, _word("}"))
    keys = cast("Table", entity.__table__).primary_key
    listed = func.string_agg(row, aggregate_order_by(_word(","), *keys))
    return _of_run(entity, func.concat(_word("["), listed, _word("]")), *conditions)


def _gathered(entity: type[RunDataset | RunModel], names: Sequence[str]) -> ScalarSelect[Any]:
    """Rows of a run in the order of their keys, each as a list of these columns."""
    table = cast("Table", entity.__table__)
    row = func.jsonb_build_array(*[table.c[name] for name in names])
    return _of_run(entity, func.jsonb_agg(aggregate_order_by(row, *table.primary_key)))


# As `number` has it; what is no finite number is put in quotes by the database.
_NUMBER = func.coalesce(
    cast_to(func.to_json(MetricSummary.last), Text),
    case(
        *(
            (
                MetricSummary.last_data[literal_column("'value'")].astext == _word(word),
                _word(f'"{written}"'),
            )
            for word, written in _WORDS.items()
        ),
        else_=_word('"NaN"'),
    ),
)
_LOGGED = (
    _written(
        MetricSummary,
        {
            "key": func.to_json(MetricSummary.name),
            "value": _NUMBER,
            "timestamp": cast_to(milliseconds_of(MetricSummary.last_at.expression), BigInteger),
            "step": func.coalesce(MetricSummary.last_step, literal_column("0")),
        },
        MetricSummary.attempt == Run.attempt,
        # What MLflow calls a metric: numbers that the script logged.
        MetricSummary.namespace == _word(""),
        MetricSummary.type == _word("scalar"),
    ).label("metrics"),
    _written(
        RunParam, {"key": func.to_json(RunParam.key), "value": func.to_json(RunParam.value)}
    ).label("params"),
)
_DATASETS = _gathered(
    RunDataset, ("name", "digest", "source_type", "source", "schema", "profile", "tags")
)
_MODELS = _gathered(RunModel, ("model_id", "is_output", "step"))
_ONE = Statement(
    select(*_COLUMNS, *_LOGGED, _DATASETS.label("datasets"), _MODELS.label("models"))
    .join(Experiment, Experiment.id == Run.experiment_id)
    .where(
        Run.id == bindparam("run_id", type_=Text),
        Run.workspace_id == bindparam("workspace_id"),
        or_(
            bindparam("script_run_id", type_=Text) == "",
            Run.id == bindparam("script_run_id", type_=Text),
            Run.creator_run_id == bindparam("script_run_id", type_=Text),
        ),
    )
)


def document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A run as clients read it, from a row of `in_order`."""
    return {
        "info": _info(row),
        "data": {
            "metrics": _fragment(row["metrics"]),
            "params": _fragment(row["params"]),
            "tags": names.pairs(_tags(row, orjson.loads(row["tags"]))),
        },
        **_read_and_made(row["datasets"], row["models"]),
    }


def _read_and_made(datasets: str | None, models: str | None) -> dict[str, Any]:
    """What is empty is left out, as MLflow's servers do."""
    if datasets is None and models is None:
        return {"inputs": {}, "outputs": {}}
    linked = _listed(models)
    read = {
        "dataset_inputs": [_dataset(*found) for found in _listed(datasets)],
        "model_inputs": [
            {"model_id": model_id} for model_id, is_output, _ in linked if not is_output
        ],
    }
    made = {
        "model_outputs": [
            {"model_id": model_id, "step": step}
            for model_id, is_output, step in linked
            if is_output
        ]
    }
    return {
        "inputs": {name: found for name, found in read.items() if found},
        "outputs": {name: found for name, found in made.items() if found},
    }


def _fragment(text: str | None) -> Fragment:
    return _NOTHING if text is None else Fragment(text)


def _listed(text: str | None) -> list[Any]:
    return [] if text is None else cast("list[Any]", orjson.loads(text))


def _info(row: Mapping[str, Any]) -> dict[str, Any]:
    experiment_id = names.experiment_id_of(row["experiment_id"], row["experiment_name"])
    found = {
        "run_id": row["run_id"],
        "run_uuid": row["run_id"],
        "run_name": row["run_name"],
        "experiment_id": experiment_id,
        "user_id": row["user_id"],
        "status": names.status_of(row["status"]),
        "start_time": row["start_time"],
        "artifact_uri": places.run_root(experiment_id, row["run_id"]),
        "lifecycle_stage": names.lifecycle_of(row["deleted_at"]),
    }
    if row["end_time"] is not None:
        found["end_time"] = row["end_time"]
    return found


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
