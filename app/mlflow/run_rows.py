"""Rows of runs with all that belongs to them, for `run_documents`.

Metrics and parameters, of which there may be many, are written as JSON by the database.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    ScalarSelect,
    Select,
    Table,
    Text,
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

from app.kernel.direct import Statement
from app.mlflow import names
from app.mlflow.moments import milliseconds_of
from app.tables.experiment import Experiment
from app.tables.metric import MetricSummary
from app.tables.run import Run
from app.tables.tracking import RunDataset, RunModel, RunParam

NUMBER_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
"""What is no finite number, as we store it → as protocol buffers write it in JSON."""
COLUMNS = (
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


def in_order(source: FromClause) -> Select[Any]:
    """The statement for rows in the order of the runs' ids.

    Args:
        source: its column ``ids`` is an array of them.
    """
    given = func.unnest(source.c.ids).table_valued("id", with_ordinality="place")
    given = given.render_derived("given")
    return (
        select(*COLUMNS, *_GATHERED)
        .select_from(source.join(given, true()))
        .join(Run, Run.id == given.c.id)
        .join(Experiment, Experiment.id == Run.experiment_id)
        .order_by(given.c.place)
    )


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


def _gathered(
    entity: type[RunDataset | RunModel], names: Sequence[str], *order: ColumnElement[Any]
) -> ScalarSelect[Any]:
    """Rows of a run in an order, and then in that of their keys, as lists of these columns."""
    table = cast("Table", entity.__table__)
    row = func.jsonb_build_array(*[table.c[name] for name in names])
    return _of_run(entity, func.jsonb_agg(aggregate_order_by(row, *order, *table.primary_key)))


# As `run_documents.number` has it; what is no finite number is put in quotes by the database.
_NUMBER = func.coalesce(
    cast_to(func.to_json(MetricSummary.last), Text),
    case(
        *(
            (
                MetricSummary.last_data[literal_column("'value'")].astext == _word(word),
                _word(f'"{written}"'),
            )
            for word, written in NUMBER_WORDS.items()
        ),
        else_=_word('"NaN"'),
    ),
)
_GATHERED = (
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
    _gathered(
        RunDataset,
        ("name", "digest", "source_type", "source", "schema", "profile", "tags"),
        RunDataset.place.expression,
    ).label("datasets"),
    _gathered(RunModel, ("model_id", "is_output", "step")).label("models"),
)
ONE = Statement(
    select(*COLUMNS, *_GATHERED)
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
