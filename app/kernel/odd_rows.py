"""Rows whose contents nobody expects: left by another release, or changed by hand.

Who reads many rows at a time reads each by itself, so that an odd one keeps none from the others.
Who asks for such a row alone is told which it is.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import inf, isfinite
from typing import Any, TypeVar

import structlog
from prometheus_client import Counter
from starlette.responses import Response
from starlette.types import Scope

from app.kernel.errors import DomainError
from app.kernel.measures import REGISTRY
from app.kernel.problems import problem_response

_log = structlog.get_logger(__name__)
R = TypeVar("R")
T = TypeVar("T")

ODD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What comes of taking the contents of a row for what they are not; no outage is one of these."""

ODD_ROWS = Counter(
    "trainwright_odd_rows_total",
    "Times that a row was left out of work on many, or not shown, as its contents are odd",
    ["table"],
    registry=REGISTRY,
)


class RowUnreadable(DomainError):
    """A row was changed by hand or by another release, and cannot be shown."""

    status = 500
    code = "row_unreadable"
    title = "A row cannot be read"

    def __init__(self, table: str, row_id: str) -> None:
        super().__init__(
            f"Row {row_id!r} of {table} cannot be shown: it was changed by hand or by another "
            "release. The log of the API has it as row_unreadable, with the type of the error: an "
            "operator mends the row in the database, or starts the release that wrote it.",
            extensions={"kind": table, "id": row_id},
        )


def one(row: Any) -> AbstractContextManager[None]:
    """While this row, of a mapped class with an id, is made into what is shown of it.

    Raises:
        RowUnreadable: it cannot be; it is counted and logged.
    """
    return one_of(row.__tablename__, str(row.id))


@contextmanager
def one_of(table: str, row_id: str) -> Iterator[None]:
    """The same, of a row that is known by its table and what it is called there.

    Raises:
        RowUnreadable: it cannot be shown; it is counted and logged.
    """
    try:
        yield
    except ODD as error:
        _note(table, row_id, error)
        raise RowUnreadable(table, row_id) from error


async def shown_after(row: Any, reading: Awaitable[T], scope: Scope) -> T | Response:
    """What is shown of a row after a change of it, which stays though the row cannot be shown.

    Args:
        row: of a mapped class with an id.
        reading: makes what is shown of it.
        scope: of the request.

    Returns:
        That; or the problem `RowUnreadable`, answered instead of raised, so that the request's
        transaction is committed.
    """
    try:
        with one(row):
            return await reading
    except RowUnreadable as error:
        return problem_response(error, scope)


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
            left_out.append(name_of(row))
            _note(table, left_out[-1], error)
    return found, left_out


def shown_rows(rows: Sequence[Any], read: Callable[[Any], T]) -> list[T]:
    """What rows of one mapped class are shown as, without those that cannot be."""
    table = rows[0].__tablename__ if rows else ""
    return shown(rows, read, table=table, name_of=lambda row: str(row.id))[0]


def _note(table: str, name: str, error: Exception) -> None:
    ODD_ROWS.labels(table).inc()
    _log.warning("row_unreadable", table=table, row=name, error=type(error).__name__)


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
