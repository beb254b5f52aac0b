"""The values of the next trials, whatever the algorithm; pure, and slow for some."""

import importlib
from collections.abc import Sequence
from itertools import islice

from app.sweeps.distributions import Values
from app.sweeps.past import Past
from app.sweeps.schemas import GpSampling, GridSampling, RandomSampling, SweepCreate
from app.sweeps.space import combinations, drawn


def next_values(
    spec: SweepCreate, past: Sequence[Past], *, seed: int, numbers: Sequence[int]
) -> list[Values]:
    """Values for trials of these numbers; fewer where a grid has no more.

    Args:
        spec: the request of the sweep.
        past: its trials so far, and those of earlier sweeps that it learns from.
        seed: of the sweep.
        numbers: of the trials, without gaps.

    Raises:
        NothingLeft: the constraints leave no values.
    """
    space, constraints = spec.search_space, spec.constraints
    if isinstance(spec.algorithm, RandomSampling):
        return [drawn(space, constraints, seed=seed, number=number) for number in numbers]
    if isinstance(spec.algorithm, GridSampling):
        return list(islice(combinations(space, constraints), numbers[0], numbers[-1] + 1))
    # Loaded by the first sweep that learns: it takes a second, and memory for good.
    sampling = importlib.import_module("app.sweeps.sampling")
    proposals: list[Values] = sampling.proposed(
        "gp" if isinstance(spec.algorithm, GpSampling) else "tpe",
        space,
        constraints,
        spec.objective.goal,
        past,
        seed=seed,
        numbers=numbers,
    )
    return proposals


def learns(spec: SweepCreate) -> bool:
    """Whether the algorithm looks at earlier trials."""
    return not isinstance(spec.algorithm, RandomSampling | GridSampling)
