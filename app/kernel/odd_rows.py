"""Rows whose contents nobody expects: left by another release, or changed by hand.

Who reads many rows at a time reads each by itself, so that an odd one keeps none from the others.
"""

from math import inf, isfinite

from prometheus_client import Counter

from app.kernel.measures import REGISTRY

ODD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What comes of taking the contents of a row for what they are not; no outage is one of these."""

ODD_ROWS = Counter(
    "trainwright_odd_rows_total",
    "Times that a row was left out of work on many, as its contents could not be worked with",
    ["table"],
    registry=REGISTRY,
)


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
