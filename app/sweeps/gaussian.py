"""A sampler for Optuna: a Gaussian process, and the expected improvement.

Matérn 5/2 with a length for each dimension, as Snoek et al. 2012 (arXiv:1206.2944) advise; trials
that are still running count with the value that the process expects of them.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.optimize import minimize
from scipy.special import ndtr
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from threadpoolctl import threadpool_limits

_STARTUP_TRIALS = 10
_CANDIDATES = 1024
_NEAR_BEST = 256
_STEPS = 20
_MOST_TRIALS = 400
"""The process takes the cube of their number; of more, those with the best values count."""
_LEARNT = (TrialState.COMPLETE, TrialState.PRUNED)
Array = NDArray[np.float64]


class GaussianProcessSampler(BaseSampler):
    """Proposes where the expected improvement is largest."""

    def __init__(
        self,
        seed: int,
        *,
        active: Callable[[dict[str, Any]], dict[str, Any]],
        allowed: Callable[[dict[str, Any]], bool],
    ) -> None:
        """Make a sampler.

        Args:
            seed: the same seed and the same trials give the same proposal.
            active: what of parameters does not depend on a choice that was made otherwise.
            allowed: whether constraints let parameters be proposed.
        """
        self._active = active
        self._allowed = allowed
        self._rng = np.random.default_rng(seed)
        self._seed = seed
        self._random = RandomSampler(seed=seed)
        self._process: tuple[int, GaussianProcessRegressor] | None = None

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters that any trial has that came to a value."""
        found: dict[str, BaseDistribution] = {}
        for one in study.get_trials(deepcopy=False, states=_LEARNT):
            found |= one.distributions
        return {name: one for name, one in sorted(found.items()) if not one.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Choose the best of many candidates; nothing while there are few trials."""
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        done = [
            (one, sign * value)
            for one in study.get_trials(deepcopy=False)
            if (value := _value(one)) is not None
        ]
        if len(done) < _STARTUP_TRIALS or not search_space:
            return {}
        done = sorted(done, key=lambda pair: -pair[1])[:_MOST_TRIALS]
        values = _scaled(np.array([value for _, value in done]))
        best = float(values[0])
        candidates = self._candidates(done[0][0].params, search_space)
        places = np.array([_encoded(self._active(one), search_space) for one in candidates])
        # Matrices this small are slower in many threads, which wait for each other by spinning.
        with threadpool_limits(1):
            process = self._fitted(study, done, values, search_space)
            gains = _expected_improvement(process, best, places)
        ranked = [candidates[int(place)] for place in np.argsort(-gains, kind="stable")]
        return next((one for one in ranked if self._allowed(one)), ranked[0])

    def _fitted(
        self,
        study: Study,
        done: Sequence[tuple[FrozenTrial, float]],
        values: Array,
        space: dict[str, BaseDistribution],
    ) -> GaussianProcessRegressor:
        """The process that knows these trials; asking again after a refusal fits nothing anew."""
        if self._process is None or self._process[0] != len(done):
            known = np.array([_encoded(one.params, space) for one, _ in done])
            running = [
                _encoded(one.params, space)
                for one in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            ]
            self._process = (len(done), _fitted(known, values, np.array(running), self._seed))
        return self._process[1]

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw at random."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _candidates(
        self, best: dict[str, Any], space: dict[str, BaseDistribution]
    ) -> list[dict[str, Any]]:
        anywhere = [
            {name: self._drawn(one) for name, one in space.items()} for _ in range(_CANDIDATES)
        ]
        near = [
            {
                name: self._near(best[name], one) if name in best else self._drawn(one)
                for name, one in space.items()
            }
            for _ in range(_NEAR_BEST)
        ]
        return anywhere + near

    def _drawn(self, distribution: BaseDistribution) -> Any:
        if isinstance(distribution, CategoricalDistribution):
            return distribution.choices[int(self._rng.integers(len(distribution.choices)))]
        if isinstance(distribution, IntDistribution):
            return int(self._rng.integers(distribution.low, distribution.high + 1))
        assert isinstance(distribution, FloatDistribution)
        return float(self._rng.uniform(distribution.low, distribution.high))

    def _near(self, value: Any, distribution: BaseDistribution) -> Any:
        if isinstance(distribution, CategoricalDistribution):
            return value if self._rng.random() < 0.8 else self._drawn(distribution)
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        width = distribution.high - distribution.low
        moved = value + self._rng.normal(0, 0.05) * width
        kept = min(max(moved, distribution.low), distribution.high)
        return round(kept) if isinstance(distribution, IntDistribution) else float(kept)


def _value(trial: FrozenTrial) -> float | None:
    """What a trial came to; of one that was ended early, what it had reached."""
    if trial.state == TrialState.COMPLETE:
        return trial.value
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        return trial.intermediate_values[max(trial.intermediate_values)]
    return None


def _encoded(params: dict[str, Any], space: dict[str, BaseDistribution]) -> list[float]:
    """A place in the unit cube; each choice has a dimension for each of its values.

    What is absent, because it depends on another choice, is in the middle, or none of the values.
    """
    place: list[float] = []
    for name in sorted(space):
        distribution, value = space[name], params.get(name)
        if isinstance(distribution, CategoricalDistribution):
            place += [float(value == one) for one in distribution.choices]
        elif value is None:
            place.append(0.5)
        else:
            assert isinstance(distribution, IntDistribution | FloatDistribution)
            place.append((value - distribution.low) / (distribution.high - distribution.low))
    return place


def _scaled(values: Array) -> Array:
    """With mean 0 and deviation 1; first to at most 1, for the squares of the largest numbers."""
    small = values / (np.abs(values).max() or 1.0)
    scaled: Array = (small - small.mean()) / (small.std() or 1.0)
    return scaled


def _fitted(known: Array, scaled: Array, running: Array, seed: int) -> GaussianProcessRegressor:
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(
        length_scale=[0.5] * known.shape[1], length_scale_bounds=(1e-2, 1e2), nu=2.5
    ) + WhiteKernel(1e-3, (1e-6, 1.0))
    process = GaussianProcessRegressor(
        kernel=kernel, optimizer=_optimized, random_state=seed % 2**32
    )
    with warnings.catch_warnings():
        # A length at its bound only says that a parameter matters little.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(known, scaled)
    if len(running):
        known = np.vstack([known, running])
        scaled = np.concatenate([scaled, process.predict(running)])
        process = GaussianProcessRegressor(kernel=process.kernel_, optimizer=None)
        process.fit(known, scaled)
    return process


def _optimized(target: Any, start: Array, bounds: Array) -> tuple[Array, float]:
    """The kernel's parameters, near enough: the next trial moves them again."""
    found = minimize(
        target, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": _STEPS}
    )
    return found.x, found.fun


def _expected_improvement(process: GaussianProcessRegressor, best: float, places: Array) -> Array:
    """Expected improvement over the best value at each place; more is better."""
    mean, deviation = process.predict(places, return_std=True)
    deviation = np.maximum(deviation, 1e-9)
    over = mean - best
    z = over / deviation
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    gains: Array = over * ndtr(z) + deviation * density
    return gains
