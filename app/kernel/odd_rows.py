"""Rows whose contents nobody expects: left by another release, or changed by hand.

Who reads many rows at a time reads each by itself, so that an odd one keeps none from the others.
"""

from collections.abc import Callable, Iterable
from math import inf, isfinite
from typing import TypeVar

import structlog
from prometheus_client import Counter

from app.kernel.measures import REGISTRY

_log = structlog.get_logger(__name__)
R = TypeVar("R")
T = TypeVar("T")

ODD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What comes of taking the contents of a row for what they are not; no outage is one of these."""

ODD_ROWS = Counter(
    "trainwright_odd_rows_total",
    "Times that a row was left out of work on many, as its contents could not be worked with",
    ["table"],
    registry=REGISTRY,
)


def shown(
    rows: Iterable[R], read: Callable[[R], T], *, table: str, name_of: Callable[[R], str]
) -> tuple[list[T], list[str]]:
    """What rows are shown as, each by itself.

    Args:
        rows: of a page.
        read: makes what is shown of a row.
        table: whose rows these are.
        name_of: what a row is called.

    Returns:
        What can be shown, and the names of the rows that cannot; these are counted and logged.
    """
    found, left_out = [], []
    for row in rows:
        try:
            found.append(read(row))
        except ODD as error:
            ODD_ROWS.labels(table).inc()
            name = name_of(row)
            _log.warning("row_unreadable", table=table, row=name, error=type(error).__name__)
            left_out.append(name)
    return found, left_out


def number_or_inf(text: str | None) -> float:
    """A number that a document has as a limit; without one there is none.

    Args:
        text: as the database shows the field; None: it is not there.

    Raises:
        ValueError: it is no number.
    """
    if text is None:
        return inf
    found = float(text)
    if not isfinite(found):
        raise ValueError(f"{text} is no limit")
    return found
