"""Periods of the calendar, in UTC: pure functions."""

from datetime import UTC, datetime, timedelta
from typing import Literal

Period = Literal["day", "week", "month", "total"]
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def bounds(period: Period, now: datetime) -> tuple[datetime, datetime | None]:
    """The period that a moment lies in: its beginning, and its end, which is the next one's.

    Args:
        period: a day, a week from Monday, a month, or all time, which has no end.
        now: the moment.
    """
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return midnight, midnight + timedelta(days=1)
    if period == "week":
        monday = midnight - timedelta(days=midnight.weekday())
        return monday, monday + timedelta(days=7)
    if period == "month":
        first = midnight.replace(day=1)
        return first, (first + timedelta(days=32)).replace(day=1)
    return _FIRST, None
