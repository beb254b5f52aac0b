"""Last values of metrics in searches: numbers, infinities, and what is no number.

The column holds finite numbers alone, so that its index is in their order; what else a metric may
be is a word beside it.
"""

import math
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Text,
    and_,
    any_,
    case,
    exists,
    literal,
    or_,
)

from app.mlflow.search.conditions import COMPARE, number_condition
from app.mlflow.search.grammar import Comparison, Order
from app.tables.metric import MetricSummary
from app.tables.run import Run

_RUN = Run.__table__.c
_ANY = MetricSummary.__table__.alias("any_summary").c
_WORDS = {"-inf": -math.inf, "inf": math.inf, "nan": math.nan}


class Summary(NamedTuple):
    """One look at the summaries of metrics, as columns alone."""

    table: FromClause
    name: ColumnElement[str]
    last: ColumnElement[float]
    last_data: ColumnElement[Any]
    of_run: ColumnElement[bool]
    """The condition for numbers that the script of a run logged."""


@cache
def summary_of(number: int) -> Summary:
    """One look of several in a statement, by its number.

    Made once each: a name for a table costs more than all the rest of a statement.
    """
    it = MetricSummary.__table__.alias(f"summary_{number}")
    of_run = and_(
        it.c.workspace_id == _RUN.workspace_id,
        it.c.namespace == "",
        it.c.type == "scalar",
        it.c.run_id == _RUN.id,
        it.c.attempt == _RUN.attempt,
    )
    return Summary(it, it.c.name, it.c.last, it.c.last_data, of_run)


def metric_condition(summary: Summary, it: Comparison) -> ColumnElement[bool]:
    """Compare the last value; NaN fulfils nothing but ``!=``.

    Raises:
        InvalidParameter: the operator, or the value, is not one for numbers.
    """
    is_number = number_condition(summary.last, it)
    compare, wanted = COMPARE[it.operator], it.value
    words = [word for word, value in _WORDS.items() if compare(value, wanted)]
    if not words:
        return is_number
    is_word = _word(summary) == any_(literal(words, ARRAY(Text)))
    return or_(is_number, and_(summary.last.is_(None), is_word))


def metric_order(summary: Summary, order: Order) -> list[ColumnElement[Any]]:
    """In the order of the last values, infinities at its ends; then NaN, then what has none."""
    least, most = ("inf", "-inf") if order.is_descending else ("-inf", "inf")
    rank = case(
        {least: 0, most: 2, "nan": 3},
        value=_word(summary),
        else_=case((summary.last.is_not(None), 1), else_=4),
    )
    return [rank, number_order(summary, order)]


def number_order(summary: Summary, order: Order) -> ColumnElement[Any]:
    """In the order of the finite last values."""
    return summary.last.desc() if order.is_descending else summary.last.asc()


def has_infinity_first(workspace_id: Any, order: Order) -> ColumnElement[bool]:
    """Whether some run of a workspace has an infinity that comes before all numbers."""
    return exists().where(
        _ANY.workspace_id == workspace_id,
        _ANY.namespace == "",
        _ANY.type == "scalar",
        _ANY.name == order.name.key,
        _ANY.last.is_(None),
        _ANY.last_data["value"].astext == ("inf" if order.is_descending else "-inf"),
    )


def _word(summary: Summary) -> ColumnElement[str]:
    found: ColumnElement[str] = summary.last_data["value"].astext
    return found
