"""Fewer points that still look like the curve: for plots, chosen on the server."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from tsdownsample import LTTBDownsampler

FEWEST_POINTS = 3
_SAMPLER = LTTBDownsampler()  # type: ignore[no-untyped-call]

T = TypeVar("T")


def thinned(points: Sequence[tuple[float, float | None, T]], *, most: int) -> list[T]:
    """At most ``most`` of the points, in their order along x.

    Numbers are chosen by largest triangle three buckets (Steinarsson 2013), which keeps peaks
    and both ends; where some value is no number, evenly.

    Args:
        points: x, y and the thing itself; y is None for what is no number.
        most: at least `FEWEST_POINTS`.
    """
    ordered = sorted(points, key=lambda point: point[0])
    if len(ordered) <= most:
        return [thing for _, _, thing in ordered]
    if any(y is None for _, y, _ in ordered):
        chosen = np.linspace(0, len(ordered) - 1, most).round().astype(np.int64)
    else:
        x = np.array([point[0] for point in ordered], dtype=np.float64)
        y = np.array([point[1] for point in ordered], dtype=np.float64)
        chosen = _SAMPLER.downsample(x, y, n_out=most)
    return [ordered[index][2] for index in np.unique(chosen)]
