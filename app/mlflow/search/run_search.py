"""Searching runs: all of it is done by the database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    and_,
    any_,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.orm import aliased

from app.auth.principal import Principal
from app.kernel.direct import DirectPool
from app.mlflow import names, run_documents
from app.mlflow.access import seen_by
from app.mlflow.moments import milliseconds_of
from app.mlflow.pages import binding_of, offset_of, page_of
from app.mlflow.schemas import RunSearch
from app.mlflow.search.conditions import (
    LISTED_TEXT,
    NULLABLE_TEXT,
    attribute_of,
    number_condition,
    text_condition,
)
from app.mlflow.search.grammar import Comparison, Name, Order, parse_filter, parse_order
from app.tables.experiment import Experiment
from app.tables.metric import MetricSummary
from app.tables.run import Run
from app.tables.tracking import RunDataset, RunParam

_STARTED = func.coalesce(Run.started_at, Run.created_at)
_TEXTS: dict[str, ColumnElement[str]] = {
    "run_id": Run.id.expression,
    "run_name": names.run_name_column(),
    "status": names.status_column(),
    "user_id": names.user_column(),
    "artifact_uri": func.concat("mlflow-artifacts:/", Run.experiment_id, "/", Run.id, "/artifacts"),
}
_NUMBERS: dict[str, ColumnElement[float]] = {
    "start_time": milliseconds_of(_STARTED),
    "end_time": milliseconds_of(Run.ended_at.expression),
}
_OTHER_NAMES = {
    "created": "start_time",
    "Created": "start_time",
    "run name": "run_name",
    "Run name": "run_name",
    "Run Name": "run_name",
}
_ALL: dict[str, ColumnElement[Any]] = {**_TEXTS, **_NUMBERS}
_DATASET_TEXTS: dict[str, ColumnElement[str]] = {
    "name": RunDataset.name.expression,
    "digest": RunDataset.digest.expression,
    "context": RunDataset.tags[names.CONTEXT_TAG].astext,
}


async def search_runs(
    direct: DirectPool, principal: Principal, workspace_id: str, asked: RunSearch
) -> dict[str, Any]:
    """Runs of some experiments that a filter selects, a page of them.

    A run's own token finds its own run and those that its script made.

    Raises:
        InvalidParameter: the filter, the order or the token is none.
    """
    binding = binding_of(asked.experiment_ids, asked.filter, asked.order_by, asked.run_view_type)
    offset = offset_of(asked.page_token, binding)
    statement = (
        select(Run.id)
        .where(seen_by(principal, workspace_id))
        .where(_in_experiments(workspace_id, asked.experiment_ids))
        .where(*names.in_view(Run.deleted_at, asked.run_view_type))
    )
    for comparison in parse_filter(asked.filter):
        statement = _narrowed(statement, comparison)
    ids = await _ids(direct, statement, asked, offset=offset)
    page, more = page_of(ids, offset=offset, limit=asked.max_results, binding=binding)
    return {"runs": await run_documents.find(direct, page, workspace_id), **more}


def _in_experiments(workspace_id: str, experiment_ids: Sequence[str]) -> ColumnElement[bool]:
    named = Run.experiment_id == any_(literal(list(experiment_ids), ARRAY(Text)))
    if names.DEFAULT_ID not in experiment_ids:
        return named
    default = select(Experiment.id).where(
        Experiment.workspace_id == workspace_id, Experiment.name == names.DEFAULT_NAME
    )
    return or_(named, Run.experiment_id == default.scalar_subquery())


async def _ids(
    direct: DirectPool, statement: Select[Any], asked: RunSearch, *, offset: int
) -> list[str]:
    """Ids in order, one more than asked for if there are more.

    What lacks the metric that comes first in the order comes last. So if enough runs have it,
    these are the answer, and the index in the metric's order gives them without a look at all.
    """
    orders = parse_order(asked.order_by)
    limit = asked.max_results + 1
    if orders and orders[0].name.entity == "metric":
        having = _ordered(statement, orders, is_first_there=True).offset(offset).limit(limit)
        ids = [row["id"] for row in await direct.select(having)]
        if len(ids) == limit:
            return ids
    everything = _ordered(statement, orders).offset(offset).limit(limit)
    return [row["id"] for row in await direct.select(everything)]


def _narrowed(statement: Select[Any], it: Comparison) -> Select[Any]:
    key = it.name.key
    if it.name.entity == "metric":
        summary = aliased(MetricSummary)
        return statement.join(
            summary, and_(_is_metric(summary, key), number_condition(summary.last, it))
        )
    if it.name.entity == "param":
        return statement.where(_param_condition(it))
    if it.name.entity == "tag":
        return statement.where(text_condition(_tag(key), it, NULLABLE_TEXT))
    if it.name.entity == "dataset":
        column = attribute_of(it.name, _DATASET_TEXTS, entity="dataset")
        return statement.where(
            exists().where(RunDataset.run_id == Run.id, text_condition(column, it, LISTED_TEXT))
        )
    name = _known(it.name)
    attribute_of(name, _ALL)
    if name.key in _NUMBERS:
        return statement.where(number_condition(_NUMBERS[name.key], it))
    return statement.where(text_condition(_TEXTS[name.key], it, LISTED_TEXT))


def _param_condition(it: Comparison) -> ColumnElement[bool]:
    param = aliased(RunParam)
    of_run = and_(param.run_id == Run.id, param.key == it.name.key)
    if it.operator in ("IS NULL", "IS NOT NULL"):
        found = exists().where(of_run)
        return ~found if it.operator == "IS NULL" else found
    return exists().where(of_run, text_condition(param.value, it, NULLABLE_TEXT))


def _ordered(
    statement: Select[Any], orders: Sequence[Order], *, is_first_there: bool = False
) -> Select[Any]:
    """In the order that was asked for, what has no value last; then the newest first, then by id.

    Args:
        statement: over runs.
        orders: what was asked for.
        is_first_there: leave out runs without a value of the first, a metric.
    """
    parts: list[ColumnElement[Any]] = []
    for part in orders:
        must_be_there = is_first_there and not parts
        column: ColumnElement[Any]
        if part.name.entity == "metric":
            summary = aliased(MetricSummary)
            statement = statement.join(
                summary, _is_metric(summary, part.name.key), isouter=not must_be_there
            )
            column = summary.last.expression
        elif part.name.entity == "param":
            param = aliased(RunParam)
            statement = statement.outerjoin(
                param, and_(param.run_id == Run.id, param.key == part.name.key)
            )
            column = param.value.expression
        elif part.name.entity == "tag":
            column = _tag(part.name.key)
        else:
            column = attribute_of(_known(part.name), _ALL)
        ordered = column.desc() if part.is_descending else column.asc()
        if must_be_there:
            statement = statement.where(column.is_not(None))
            parts.append(ordered)
        else:
            parts.append(ordered.nulls_last())
    return statement.order_by(*parts, _STARTED.desc(), Run.id)


def _is_metric(summary: type[MetricSummary], name: str) -> ColumnElement[bool]:
    return and_(
        summary.workspace_id == Run.workspace_id,
        summary.namespace == "",
        summary.name == name,
        summary.run_id == Run.id,
        summary.attempt == Run.attempt,
    )


def _tag(key: str) -> ColumnElement[str]:
    if key == names.RUN_NAME_TAG:
        return names.run_name_column()
    if key == names.USER_TAG:
        return names.user_column()
    found: ColumnElement[str] = Run.tags[key].astext
    return found


def _known(name: Name) -> Name:
    return Name(name.entity, _OTHER_NAMES.get(name.key, name.key))
