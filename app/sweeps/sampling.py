"""Proposals of samplers that learn, through Optuna: TPE, and a Gaussian process.

Nothing is kept between two proposals: each time a study is made anew of the trials there are. So
whoever proposes next, after a crash or on another machine, proposes the same.

This and `app.sweeps.gaussian` take seconds and 80 MB to load; only who needs them loads them.
"""

import functools
import math
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from app.sweeps.constraints import Constraint, satisfies
from app.sweeps.distributions import (
    Choice,
    Distribution,
    RandInt,
    Space,
    Value,
    Values,
    coordinate_of,
    value_at,
)
from app.sweeps.gaussian import GaussianProcessSampler
from app.sweeps.past import Past
from app.sweeps.policies import Goal
from app.sweeps.space import drawn, is_active, ordered

_TRIES = 50
_STARTUP_TRIALS = 10
_SPREADS = 4.0
"""So many times further from the best than half of the values are: beyond, all are as bad."""
optuna.logging.set_verbosity(optuna.logging.WARNING)


def proposed(
    kind: Literal["tpe", "gp"],
    space: Space,
    constraints: Sequence[Constraint],
    goal: Goal,
    past: Sequence[Past],
    *,
    seed: int,
    numbers: Sequence[int],
) -> list[Values]:
    """Values for the next trials; each is told of those before it.

    Args:
        kind: the sampler.
        space: the parameters.
        constraints: that hold among them.
        goal: which values of the metric are good.
        past: all trials so far, of earlier sweeps too; those that do not fit the space are left
            out.
        seed: of the sweep.
        numbers: of the trials to propose.

    Raises:
        NothingLeft: the constraints leave no values.
    """
    past = _comparable(past, goal)
    known = [trial for one in past if (trial := _frozen(space, one)) is not None]
    found: list[Values] = []
    with warnings.catch_warnings():
        # Optuna calls options experimental that it has had for years.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for number in numbers:
            chance = random.Random(f"{seed}/{number}")  # noqa: S311
            sampler = _sampler(kind, space, constraints, chance.getrandbits(32))
            study = optuna.create_study(direction=goal, sampler=sampler)
            study.add_trials(known)
            values = _asked(study, space, constraints)
            if values is None:
                values = drawn(space, constraints, seed=seed, number=number)
            found.append(values)
            running = _frozen(space, Past(values, "running", None, 0))
            known += [] if running is None else [running]
    return found


def _comparable(past: Sequence[Past], goal: Goal) -> list[Past]:
    """Trials whose values a sampler can compare.

    Those that failed or logged no number are worse than the worst. How bad a value is that is far
    worse than most says nothing: it would only make the others look alike.
    """
    sign = 1.0 if goal == "maximize" else -1.0
    known = sorted(
        (sign * one.value for one in past if one.value is not None and one.state != "failed"),
        reverse=True,
    )
    floor = _floor(known)
    worse = floor - 0.1 * (known[0] - floor or 1.0) if known else 0.0
    if math.isinf(worse):
        worse = floor
    found = []
    for one in past:
        if one.state == "running":
            found.append(one)
        elif one.state == "failed" or one.value is None:
            found.append(one._replace(state="failed", value=sign * worse, intervals=0))
        else:
            found.append(one._replace(value=sign * max(sign * one.value, floor)))
    return found


def _floor(values: Sequence[float]) -> float:
    """The worst value that is told from worse ones; of values from the best to the worst."""
    if not values:
        return 0.0
    best, middle, low = values[0], values[len(values) // 2], values[3 * len(values) // 4]
    spread = best - (middle if middle < best else low)
    return max(values[-1], best - _SPREADS * spread) if spread > 0 else values[-1]


def _sampler(
    kind: Literal["tpe", "gp"], space: Space, constraints: Sequence[Constraint], seed: int
) -> BaseSampler:
    if kind == "gp":
        order = ordered(space)
        return GaussianProcessSampler(
            seed,
            active=functools.partial(_active, space, order),
            allowed=lambda params: satisfies(constraints, _values(space, order, params)),
        )
    return TPESampler(
        n_startup_trials=_STARTUP_TRIALS,
        multivariate=True,
        group=True,
        constant_liar=True,
        seed=seed,
    )


def _asked(study: Study, space: Space, constraints: Sequence[Constraint]) -> Values | None:
    for _ in range(_TRIES):
        trial = study.ask()
        values = _suggested(trial, space)
        if satisfies(constraints, values):
            return values
        study.tell(trial, state=TrialState.FAIL)
    return None


def _active(space: Space, order: Sequence[str], params: Mapping[str, Any]) -> dict[str, Any]:
    """What of these, as Optuna has them, does not depend on a choice that was made otherwise."""
    values: Values = {}
    for name in order:
        distribution = space[name]
        if name in params and (not distribution.when or is_active(distribution, values)):
            value = params[name]
            if isinstance(distribution, Choice):
                value = distribution.values[value]
            values[name] = value
    return {name: params[name] for name in values}


def _values(space: Space, order: Sequence[str], params: Mapping[str, Any]) -> Values:
    """Parameters as Optuna has them, as the script gets them."""
    values: Values = {}
    for name in order:
        if name in params and is_active(space[name], values):
            distribution, value = space[name], params[name]
            if isinstance(distribution, Choice):
                values[name] = distribution.values[value]
            else:
                is_whole = isinstance(distribution, RandInt)
                values[name] = value if is_whole else value_at(distribution, value)
    return values


def _suggested(trial: Trial, space: Space) -> Values:
    values: Values = {}
    for name in ordered(space):
        distribution = space[name]
        if not is_active(distribution, values):
            continue
        if isinstance(distribution, Choice):
            places = range(len(distribution.values))
            values[name] = distribution.values[trial.suggest_categorical(name, tuple(places))]
        elif isinstance(distribution, RandInt):
            values[name] = trial.suggest_int(name, 0, distribution.upper - 1)
        else:
            values[name] = value_at(distribution, trial.suggest_float(name, 0.0, 1.0))
    return values


def _frozen(space: Space, past: Past) -> FrozenTrial | None:
    """A trial as Optuna has it; None: it has parameters that the space has not, or lacks some."""
    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    for name in ordered(space):
        if not is_active(space[name], past.values):
            continue
        if name not in past.values:
            return None
        internal = _internal(space[name], past.values[name])
        if internal is None:
            return None
        params[name], distributions[name] = internal
    if past.values.keys() != params.keys():
        return None
    states = {
        "running": TrialState.RUNNING,
        "completed": TrialState.COMPLETE,
        "ended": TrialState.PRUNED,
        # As ended before it came to anything.
        "failed": TrialState.PRUNED,
    }
    is_pruned = states[past.state] == TrialState.PRUNED
    return create_trial(
        state=states[past.state],
        value=past.value if past.state == "completed" else None,
        params=params,
        distributions=distributions,
        intermediate_values=(
            {past.intervals: past.value} if is_pruned and past.value is not None else None
        ),
    )


def _internal(distribution: Distribution, value: Value) -> tuple[Any, BaseDistribution] | None:
    place = coordinate_of(distribution, value)
    if place is None:
        return None
    if isinstance(distribution, Choice):
        size = len(distribution.values)
        return min(int(place * size), size - 1), CategoricalDistribution(tuple(range(size)))
    if isinstance(distribution, RandInt):
        return value, IntDistribution(0, distribution.upper - 1)
    return place, FloatDistribution(0.0, 1.0)
