"""Runs as MLflow's clients read them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson
from orjson import Fragment
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.direct import DirectPool
from app.kernel.odd_rows import one_of, shown
from app.mlflow import names, places
from app.mlflow.moments import milliseconds
from app.mlflow.run_rows import COLUMNS, NUMBER_WORDS, ONE
from app.tables.experiment import Experiment
from app.tables.run import Run

_NOTHING = Fragment(b"[]")


async def find(
    direct: DirectPool, run_id: str, workspace_id: str, *, script_run_id: str = ""
) -> dict[str, Any] | None:
    """A run with all that belongs to it, in one round trip; None: there is none such.

    Args:
        direct: connections to the database.
        run_id: the run.
        workspace_id: where it is.
        script_run_id: the run whose script asks, which sees no more than its own; empty: a user.

    Raises:
        RowUnreadable: its row is odd.
    """
    row = await direct.row(
        ONE, run_id=run_id, workspace_id=workspace_id, script_run_id=script_run_id
    )
    if row is None:
        return None
    with one_of(Run.__tablename__, run_id):
        return _document(row)


def of_new_run(row: Mapping[str, Any]) -> dict[str, Any]:
    """A run of which nothing is known but what it was made with."""
    nothing = dict.fromkeys(
        ("end_time", "deleted_at", "entry_script", "metrics", "params", "datasets", "models")
    )
    return _document({**nothing, **row})


async def info(session: AsyncSession, run_id: str) -> dict[str, Any]:
    """What a run is, without what was logged."""
    statement = (
        select(*COLUMNS)
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
    return NUMBER_WORDS.get(word, "NaN")


def documents(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runs as clients read them, from rows of `run_rows`; without those whose rows are odd."""
    found, _ = shown(
        rows, _document, table=Run.__tablename__, name_of=lambda row: str(row["run_id"])
    )
    return found


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
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
    found = {names.RUN_NAME_TAG: row["run_name"]}
    if row["kind"] == "job":
        found[names.USER_TAG] = row["user_id"]
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
