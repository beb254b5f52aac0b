"""Times as MLflow writes them: milliseconds since 1970."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_milliseconds(number: int) -> datetime:
    """The moment so many milliseconds after 1970 began."""
    return _EPOCH + timedelta(milliseconds=number)


def milliseconds_of(column: ColumnElement[Any]) -> ColumnElement[float]:
    """The same of a column, in the database."""
    return func.floor(func.extract("epoch", column) * literal_column("1000"))
