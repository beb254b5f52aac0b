"""Searching logged models."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.mlflow import experiments, logged_models
from app.mlflow.access import Caller
from app.mlflow.moments import milliseconds_of
from app.mlflow.pages import binding_of, offset_of, page_of
from app.mlflow.registry_schemas import DatasetChosen, LoggedModelOrder, LoggedModelSearch
from app.mlflow.search.conditions import (
    LISTED_TEXT,
    NULLABLE_TEXT,
    attribute_of,
    number_condition,
    text_condition,
)
from app.mlflow.search.grammar import Comparison, parse_filter, parse_order
from app.tables.run import Run
from app.tables.tracking import LoggedModel, LoggedModelMetric

_TEXTS: dict[str, ColumnElement[str]] = {
    "name": LoggedModel.name.expression,
    "model_id": LoggedModel.id.expression,
    "model_type": LoggedModel.model_type.expression,
    "source_run_id": func.coalesce(LoggedModel.run_id, ""),
    "status": case(
        {
            "LOGGED_MODEL_PENDING": "PENDING",
            "LOGGED_MODEL_READY": "READY",
            "LOGGED_MODEL_UPLOAD_FAILED": "FAILED",
        },
        value=LoggedModel.status,
    ),
}
_CREATED = milliseconds_of(LoggedModel.created_at.expression)
_UPDATED = milliseconds_of(LoggedModel.updated_at.expression)
_NUMBERS: dict[str, ColumnElement[float]] = {
    "creation_timestamp": _CREATED,
    "creation_timestamp_ms": _CREATED,
    "creation_time": _CREATED,
    "last_updated_timestamp": _UPDATED,
    "last_updated_timestamp_ms": _UPDATED,
    "last_updated_time": _UPDATED,
}
_ALL: dict[str, ColumnElement[Any]] = {**_TEXTS, **_NUMBERS}


async def search_logged_models(
    session: AsyncSession, caller: Caller, asked: LoggedModelSearch
) -> dict[str, Any]:
    """Logged models of some experiments that a filter selects, a page of them.

    Raises:
        InvalidParameter: the filter, the order or the token is none.
    """
    orders = [str(part) for part in asked.order_by]
    binding = binding_of(asked.experiment_ids, asked.filter, orders, str(asked.datasets))
    offset = offset_of(asked.page_token, binding)
    own_ids = await experiments.own_ids(session, caller, asked.experiment_ids)
    conditions = [
        _condition(it, asked.datasets) for it in parse_filter(asked.filter, what="filter string")
    ]
    if asked.datasets:
        conditions.append(_has_metric(_is_on_one(asked.datasets)))
    statement = (
        select(LoggedModel)
        .outerjoin(Run, Run.id == LoggedModel.run_id)
        .where(logged_models.seen(caller), LoggedModel.deleted_at.is_(None))
        .where(LoggedModel.experiment_id.in_(own_ids), *conditions)
        .order_by(*[_order(part) for part in asked.order_by])
        .order_by(LoggedModel.created_at.desc(), LoggedModel.id)
        .offset(offset)
        .limit(asked.max_results + 1)
    )
    rows = (await session.execute(statement)).scalars().all()
    page, more = page_of(rows, offset=offset, limit=asked.max_results, binding=binding)
    return {"models": await logged_models.documents(session, page), **more}


def _condition(it: Comparison, datasets: Sequence[DatasetChosen]) -> ColumnElement[bool]:
    key = it.name.key
    if it.name.entity == "metric":
        is_so = number_condition(LoggedModelMetric.value, it)
        if it.operator == "!=":
            is_so = or_(is_so, LoggedModelMetric.value.is_(None))  # NaN
        return _has_metric(
            LoggedModelMetric.name == key,
            is_so,
            *([_is_on_one(datasets)] if datasets else []),
        )
    if it.name.entity == "param":
        return text_condition(LoggedModel.params[key].astext, it, NULLABLE_TEXT | LISTED_TEXT)
    if it.name.entity == "tag":
        return text_condition(LoggedModel.tags[key].astext, it, NULLABLE_TEXT | LISTED_TEXT)
    attribute_of(it.name, _ALL)
    if key in _NUMBERS:
        return number_condition(_NUMBERS[key], it)
    return text_condition(_TEXTS[key], it, LISTED_TEXT)


def _order(part: LoggedModelOrder) -> ColumnElement[Any]:
    (order,) = parse_order([part.field_name])
    column: ColumnElement[Any]
    if order.name.entity == "metric":
        statement = select(LoggedModelMetric.value).where(
            LoggedModelMetric.model_id == LoggedModel.id,
            LoggedModelMetric.name == order.name.key,
        )
        if part.dataset_name or part.dataset_digest:
            statement = statement.where(_is_on(part))
        newest = (LoggedModelMetric.step.desc(), LoggedModelMetric.logged_at.desc())
        column = statement.order_by(*newest).limit(1).scalar_subquery()
    else:
        column = attribute_of(order.name, _ALL)
    return (column.asc() if part.ascending else column.desc()).nulls_last()


def _has_metric(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(LoggedModelMetric.model_id == LoggedModel.id, *conditions)


def _is_on_one(datasets: Sequence[DatasetChosen]) -> ColumnElement[bool]:
    return or_(*[_is_on(chosen) for chosen in datasets])


def _is_on(chosen: DatasetChosen | LoggedModelOrder) -> ColumnElement[bool]:
    asked = {
        LoggedModelMetric.dataset_name: chosen.dataset_name,
        LoggedModelMetric.dataset_digest: chosen.dataset_digest,
    }
    return and_(*[column == value for column, value in asked.items() if value])
