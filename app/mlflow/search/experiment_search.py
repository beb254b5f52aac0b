"""Searching experiments."""

from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.mlflow import experiments, names
from app.mlflow.access import Caller
from app.mlflow.errors import InvalidParameter
from app.mlflow.experiment_schemas import ExperimentSearch
from app.mlflow.moments import milliseconds_of
from app.mlflow.pages import binding_of, offset_of, page_of
from app.mlflow.search.conditions import (
    LISTED_TEXT,
    NULLABLE_TEXT,
    attribute_of,
    number_condition,
    text_condition,
)
from app.mlflow.search.grammar import Comparison, parse_filter, parse_order
from app.tables.experiment import Experiment

_TEXTS: dict[str, ColumnElement[str]] = {
    "name": Experiment.name.expression,
    "experiment_id": names.experiment_id_column(),
}
_NUMBERS: dict[str, ColumnElement[float]] = {
    "creation_time": milliseconds_of(Experiment.created_at.expression),
    "last_update_time": milliseconds_of(Experiment.updated_at.expression),
}
_ALL: dict[str, ColumnElement[Any]] = {**_TEXTS, **_NUMBERS}


async def search_experiments(
    session: AsyncSession, caller: Caller, asked: ExperimentSearch
) -> dict[str, Any]:
    """Experiments that a filter selects, a page of them.

    Raises:
        InvalidParameter: the filter or the order is none.
        NoPermission: a run's token was sent.
    """
    caller.require_user()
    await experiments.default(session, caller)
    binding = binding_of(asked.filter, asked.order_by, asked.view_type)
    offset = offset_of(asked.page_token, binding)
    statement = (
        select(Experiment)
        .where(Experiment.workspace_id == caller.workspace.id)
        .where(*names.in_view(Experiment.deleted_at, asked.view_type))
        .where(*[_condition(comparison) for comparison in parse_filter(asked.filter)])
        .order_by(*_order(asked.order_by))
        .offset(offset)
        .limit(asked.max_results + 1)
    )
    rows = (await session.execute(statement)).scalars().all()
    page, more = page_of(rows, offset=offset, limit=asked.max_results, binding=binding)
    return {"experiments": experiments.documents(page), **more}


def _condition(it: Comparison) -> ColumnElement[bool]:
    if it.name.entity == "tag":
        return text_condition(Experiment.tags[it.name.key].astext, it, NULLABLE_TEXT)
    attribute_of(it.name, _ALL)
    if it.name.key in _NUMBERS:
        return number_condition(_NUMBERS[it.name.key], it)
    return text_condition(_TEXTS[it.name.key], it, LISTED_TEXT)


def _order(clauses: list[str]) -> list[ColumnElement[Any]]:
    parts: list[ColumnElement[Any]] = []
    for part in parse_order(clauses):
        if part.name.entity != "attribute":
            raise InvalidParameter(f"Invalid order_by entity: {part.name.entity}")
        column = attribute_of(part.name, _ALL)
        parts.append(column.desc() if part.is_descending else column.asc())
    if not parts:
        parts.append(Experiment.created_at.desc())
    return [*parts, Experiment.id.desc()]
