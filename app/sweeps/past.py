"""What samplers learn from."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from app.sweeps.distributions import Value


class Past(NamedTuple):
    """A trial that a sampler learns from.

    Attributes:
        values: its parameters.
        state: running, completed, ended early, or failed.
        value: the best of the primary metric; None: it has logged none.
        intervals: how many values it has logged.
    """

    values: Mapping[str, Value]
    state: Literal["running", "completed", "ended", "failed"]
    value: float | None
    intervals: int
