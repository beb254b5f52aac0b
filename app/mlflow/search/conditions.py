"""Comparisons as SQL, with MLflow's rules of which operator goes with what."""

import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import ARRAY, ColumnElement, Text, all_, any_, literal
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import operators

from app.mlflow.errors import InvalidParameter
from app.mlflow.search.grammar import Comparison, Name

T = TypeVar("T")
Column = ColumnElement[Any] | InstrumentedAttribute[Any]
NUMERIC = frozenset({"=", "!=", "<", "<=", ">", ">="})
TEXT = frozenset({"=", "!=", "LIKE", "ILIKE"})
NULLABLE_TEXT = TEXT | {"IS NULL", "IS NOT NULL"}
LISTED_TEXT = TEXT | {"IN", "NOT IN"}
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "LIKE": operators.like_op,
    "ILIKE": operators.ilike_op,
}
"""For columns; of numbers also for values."""
_WORDS = {
    "metric": "metric",
    "param": "parameter",
    "tag": "tag",
    "attribute": "attribute",
    "dataset": "dataset",
}
"""What MLflow's messages call what is compared."""


def number_condition(column: Column, it: Comparison) -> ColumnElement[bool]:
    """Compare a number.

    Raises:
        InvalidParameter: the operator, or the value, is not one for numbers.
    """
    check_operator(it, NUMERIC)
    if not isinstance(it.value, float):
        what = "metric" if it.name.entity == "metric" else f"numeric attribute: {it.name.key}"
        raise InvalidParameter(f"Expected numeric value type for {what}. Found {it.value!r}")
    compared: ColumnElement[bool] = COMPARE[it.operator](column, it.value)
    return compared


def text_condition(
    column: Column, it: Comparison, allowed: frozenset[str] = NULLABLE_TEXT
) -> ColumnElement[bool]:
    """Compare a text; what is absent fulfils nothing but IS NULL.

    Raises:
        InvalidParameter: the operator, or the value, is not one for this text.
    """
    check_operator(it, allowed)
    if it.operator == "IS NULL":
        return column.is_(None)
    if it.operator == "IS NOT NULL":
        return column.is_not(None)
    if isinstance(it.value, tuple):
        # One parameter, however many there are: such a statement is compiled once.
        values = literal(list(it.value), ARRAY(Text))
        return column == any_(values) if it.operator == "IN" else column != all_(values)
    if not isinstance(it.value, str):
        raise InvalidParameter(
            f"Expected a quoted string value for {_WORDS[it.name.entity]} (e.g. 'my-value'). "
            f"Got value {it.value!r}"
        )
    compared: ColumnElement[bool] = COMPARE[it.operator](column, it.value)
    return compared


def check_operator(it: Comparison, allowed: frozenset[str]) -> None:
    """Refuse an operator that does not go with what is compared.

    Raises:
        InvalidParameter: it does not.
    """
    if it.operator in allowed:
        return
    if it.operator in ("IS NULL", "IS NOT NULL"):
        raise InvalidParameter(
            "IS NULL / IS NOT NULL is only supported for tags and params, not for "
            f"'{_WORDS[it.name.entity]}' '{it.name.key}'"
        )
    raise InvalidParameter(
        f"Invalid comparator '{it.operator}' not one of {sorted(allowed)}, which go with "
        f"{_WORDS[it.name.entity]} '{it.name.key}'"
    )


def attribute_of(
    name: Name, known: Mapping[str, T], *, entity: str = "attribute", called: str = ""
) -> T:
    """What is behind the name of an attribute.

    Args:
        name: of the attribute.
        known: what there is.
        entity: what the name has to be of.
        called: what it is called in a refusal, where not by that.

    Raises:
        InvalidParameter: there is no such attribute, or it is no attribute.
    """
    if name.entity != entity:
        raise InvalidParameter(
            f"Invalid entity type '{_WORDS[name.entity]}' of '{name.key}': not one of those that "
            "can be used here."
        )
    if name.key not in known:
        raise InvalidParameter(
            f"Invalid {called or entity} key '{name.key}' specified. "
            f"Valid keys are '{sorted(known)}'"
        )
    return known[name.key]
