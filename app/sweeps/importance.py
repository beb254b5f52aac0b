"""Says how much each parameter matters: JSON on standard input, JSON on standard output.

A process of its own, which is gone afterwards: its libraries are large and slow to load, and would
hold up the API's event loop.
"""

import json
import sys
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.logging import WARNING, set_verbosity
from optuna.study import create_study
from optuna.trial import create_trial


def importances(places: list[dict[str, float | int]], values: list[float]) -> dict[str, float]:
    """The part of the variance of the values' ranks that each parameter alone explains, in sum 1.

    Functional ANOVA of a forest (Hutter et al. 2014, "An Efficient Approach for Assessing
    Hyperparameter Importance").

    Args:
        places: of each trial the parameters that all trials have: whole numbers for values of a
            choice, else coordinates from 0 to 1.
        values: of the metric.
    """
    set_verbosity(WARNING)
    shares = dict.fromkeys(places[0], 0.0)
    # What never changes explains nothing, and some of it the forest cannot take.
    varied = [name for name in places[0] if len({place[name] for place in places}) > 1]
    if not varied or len(set(values)) == 1:
        return shares
    places = [{name: place[name] for name in varied} for place in places]
    # Ranks: of one huge value nothing is learnt about the others, and its square is no number.
    ranks = np.unique(values, return_inverse=True)[1].astype(float).tolist()
    study = create_study()
    sizes = {
        name: 1 + max(int(place[name]) for place in places)
        for name, value in places[0].items()
        if isinstance(value, int)
    }
    for place, value in zip(places, ranks, strict=True):
        study.add_trial(
            create_trial(
                value=value,
                params=dict(place),
                distributions={
                    name: CategoricalDistribution(tuple(range(sizes[name])))
                    if name in sizes
                    else FloatDistribution(0.0, 1.0)
                    for name in place
                },
            )
        )
    try:
        found = FanovaImportanceEvaluator(seed=0).evaluate(study)
    except RuntimeError:
        # Its way of saying that no tree of the forest has found any difference.
        return shares
    total = sum(found.values())
    return shares | {name: share / total if total else 0.0 for name, share in found.items()}


def main() -> None:
    """Read, compute, write."""
    given: dict[str, Any] = json.load(sys.stdin.buffer)
    json.dump(importances(given["places"], given["values"]), sys.stdout)


if __name__ == "__main__":
    main()
