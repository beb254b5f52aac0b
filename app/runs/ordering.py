"""Which runs a list shows, by their metrics, and in which order."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_
from sqlalchemy.orm import InstrumentedAttribute, aliased

from app.kernel.errors import invalid_field
from app.tables.metric import MetricSummary
from app.tables.run import Run

_ORDER = re.compile(r"(?P<minus>-?)metrics\.(?P<name>.{1,255}?)(?P<word> asc| desc)?", re.DOTALL)
# What stands before the sign ends with no sign of its own: "==" is no name that ends with "=".
_CONDITION = re.compile(
    r"(?P<name>.{1,255}?)(?<![<>=!\s])\s*(?P<sign><=|>=|!=|<|>|=)\s*(?P<number>[^<>=!]+)",
    re.DOTALL,
)
_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}
MAX_CONDITIONS = 10
# Made once: with the same names every time, statements are prepared once, too.
_ORDERED = aliased(MetricSummary, name="ordered_by")
_CONDITIONED = [aliased(MetricSummary, name=f"condition_{n}") for n in range(MAX_CONDITIONS)]


class Order(NamedTuple):
    """Runs by the last value of a metric; those without it are not listed."""

    metric: str
    descending: bool


class Condition(NamedTuple):
    """What the last value of a metric must be."""

    metric: str
    sign: str
    number: float


def parse_order(text: str) -> Order:
    """The order behind ``metrics.NAME``, ``-metrics.NAME`` or ``metrics.NAME desc``.

    Raises:
        Invalid: it is none.
    """
    match = _ORDER.fullmatch(text)
    if match is None or (match["minus"] and match["word"]):
        message = "Order by metrics.NAME, or by -metrics.NAME for the highest first."
        raise invalid_field("query/order_by", "bad_order", message)
    return Order(match["name"], bool(match["minus"]) or match["word"] == " desc")


def parse_condition(text: str) -> Condition:
    """The condition behind ``NAME<NUMBER`` and the like.

    Raises:
        Invalid: it is none.
    """
    match = _CONDITION.fullmatch(text)
    try:
        number = math.nan if match is None else float(match["number"])
        if match is None or math.isnan(number):
            raise ValueError
        return Condition(match["name"], match["sign"], number)
    except ValueError:
        message = "Write NAME<NUMBER; the signs are <, <=, >, >=, = and !=."
        raise invalid_field("query/metric", "bad_metric_condition", message) from None


def with_conditions(
    statement: Select[Any], workspace_id: str, conditions: Sequence[Condition]
) -> Select[Any]:
    """The runs of a statement whose metrics are as these say, at most `MAX_CONDITIONS`."""
    for summary, condition in zip(_CONDITIONED, conditions, strict=False):
        compare = _SIGNS[condition.sign]
        statement = statement.join(
            summary,
            and_(
                _is_of_run(summary, workspace_id, condition.metric),
                compare(summary.last, condition.number),
            ),
        )
    return statement


def ordered(
    statement: Select[Any], workspace_id: str, order: Order
) -> tuple[Select[Any], list[InstrumentedAttribute[Any]]]:
    """The statement with the metric's value beside each run, and the keys of its pages."""
    joined = statement.join(_ORDERED, _is_of_run(_ORDERED, workspace_id, order.metric))
    joined = joined.where(_ORDERED.last.is_not(None)).add_columns(_ORDERED.last)
    return joined, [_ORDERED.last, _ORDERED.run_id]


def _is_of_run(summary: type[MetricSummary], workspace_id: str, name: str) -> ColumnElement[bool]:
    return and_(
        summary.workspace_id == workspace_id,
        summary.namespace == "",
        summary.name == name,
        summary.run_id == Run.id,
        summary.attempt == Run.attempt,
    )
