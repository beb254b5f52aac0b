"""Searching registered models and their versions."""

from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.mlflow import names, registry_documents
from app.mlflow.access import Caller
from app.mlflow.moments import milliseconds_of
from app.mlflow.pages import binding_of, offset_of, page_of
from app.mlflow.registry_schemas import RegistrySearch
from app.mlflow.search.conditions import (
    LISTED_TEXT,
    TEXT,
    attribute_of,
    number_condition,
    text_condition,
)
from app.mlflow.search.grammar import Comparison, Name, parse_filter, parse_order
from app.tables.model import Model, ModelVersion

_QUOTED = ("version", "version_number")
"""Numbers that may stand in quotes, as clients show them."""
_PROMPT = Name("tag", names.PROMPT_TAG)
_MODEL_TEXTS: dict[str, ColumnElement[str]] = {"name": Model.name.expression}
_MODEL_NUMBERS: dict[str, ColumnElement[Any]] = {
    "creation_timestamp": milliseconds_of(Model.created_at.expression),
    "last_updated_timestamp": milliseconds_of(Model.updated_at.expression),
}
_VERSION_TEXTS: dict[str, ColumnElement[str]] = {
    "name": Model.name.expression,
    "run_id": func.coalesce(func.nullif(ModelVersion.source_run_id, ""), ModelVersion.run_id, ""),
    "source_path": ModelVersion.source.expression,
    "source": ModelVersion.source.expression,
}
_VERSION_NUMBERS: dict[str, ColumnElement[Any]] = {
    "version_number": ModelVersion.version.expression,
    "version": ModelVersion.version.expression,
    "creation_timestamp": milliseconds_of(ModelVersion.created_at.expression),
    "last_updated_timestamp": milliseconds_of(ModelVersion.updated_at.expression),
}


async def search_models(
    session: AsyncSession, caller: Caller, asked: RegistrySearch
) -> dict[str, Any]:
    """Registered models that a filter selects, a page of them.

    Raises:
        InvalidParameter: the filter, the order or the token is none.
    """
    binding = binding_of("models", asked.filter, asked.order_by)
    offset = offset_of(asked.page_token, binding)
    updated = _MODEL_NUMBERS["last_updated_timestamp"]
    orders = {**_MODEL_TEXTS, "last_updated_timestamp": updated, "timestamp": updated}
    statement = (
        select(Model)
        .where(Model.workspace_id == caller.workspace.id)
        .where(*_conditions(asked.filter, _MODEL_TEXTS, _MODEL_NUMBERS, Model.tags))
        .order_by(*_order(asked.order_by, orders, entity="order by"), Model.name)
        .offset(offset)
        .limit(asked.max_results + 1)
    )
    rows = (await session.execute(statement)).scalars().all()
    page, more = page_of(rows, offset=offset, limit=asked.max_results, binding=binding)
    return {
        "registered_models": await registry_documents.documents(session, page),
        **more,
    }


async def search_versions(
    session: AsyncSession, caller: Caller, asked: RegistrySearch
) -> dict[str, Any]:
    """Versions that a filter selects, a page of them.

    Raises:
        InvalidParameter: the filter, the order or the token is none.
    """
    binding = binding_of("versions", asked.filter, asked.order_by)
    offset = offset_of(asked.page_token, binding)
    orders = {"name": _VERSION_TEXTS["name"], **_VERSION_NUMBERS}
    order = _order(asked.order_by, orders, entity="attribute")
    if not order:
        order = [ModelVersion.updated_at.desc()]
    statement = (
        select(Model.name, ModelVersion)
        .options(registry_documents.SHOWN)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(Model.workspace_id == caller.workspace.id)
        .where(*_conditions(asked.filter, _VERSION_TEXTS, _VERSION_NUMBERS, ModelVersion.tags))
        .order_by(*order, Model.name, ModelVersion.version.desc())
        .offset(offset)
        .limit(asked.max_results + 1)
    )
    found = [(name, row) for name, row in await session.execute(statement)]
    page, more = page_of(found, offset=offset, limit=asked.max_results, binding=binding)
    named = {row.model_id: name for name, row in page}
    rows = [row for _, row in page]
    return {
        "model_versions": await registry_documents.version_documents(session, named, rows),
        **more,
    }


def _conditions(
    text: str,
    texts: dict[str, ColumnElement[str]],
    numbers: dict[str, ColumnElement[Any]],
    tags: InstrumentedAttribute[dict[str, str | None]],
) -> list[ColumnElement[bool]]:
    """What a filter says; prompts are among models only when it asks for them."""
    asked = parse_filter(text)
    about_prompts = [it for it in asked if it.name == _PROMPT]
    wanted = [it for it in asked if it.name != _PROMPT]
    # What has no such tag is no prompt.
    is_prompt = func.coalesce(tags[names.PROMPT_TAG].astext, "false") == "true"
    return [
        is_prompt if any(map(_asks_for_prompts, about_prompts)) else ~is_prompt,
        *[_condition(it, texts, numbers, tags) for it in wanted],
    ]


def _asks_for_prompts(it: Comparison) -> bool:
    return (it.operator, str(it.value).lower()) in {("=", "true"), ("!=", "false")}


def _condition(
    it: Comparison,
    texts: dict[str, ColumnElement[str]],
    numbers: dict[str, ColumnElement[Any]],
    tags: InstrumentedAttribute[dict[str, str | None]],
) -> ColumnElement[bool]:
    key = it.name.key
    if it.name.entity == "tag":
        return text_condition(tags[key].astext, it)
    attribute_of(it.name, {**texts, **numbers})
    if key in numbers:
        if key in _QUOTED and isinstance(it.value, str) and it.value.isdecimal():
            it = replace(it, value=float(it.value))
        return number_condition(numbers[key], it)
    return text_condition(texts[key], it, LISTED_TEXT if key in ("name", "run_id") else TEXT)


def _order(
    clauses: list[str], known: dict[str, ColumnElement[Any]], *, entity: str
) -> list[ColumnElement[Any]]:
    found: list[ColumnElement[Any]] = []
    for part in parse_order(clauses):
        column = attribute_of(part.name, known, called=entity)
        found.append(column.desc() if part.is_descending else column.asc())
    return found
