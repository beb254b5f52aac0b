"""From v1's description of a sweep to the API's."""

from typing import Any

from trainwright.azureml.exceptions import UserErrorException
from trainwright.azureml.train._sampling import (
    BanditPolicy,
    BayesianParameterSampling,
    GridParameterSampling,
    MedianStoppingPolicy,
    NoTerminationPolicy,
    RandomParameterSampling,
    TruncationSelectionPolicy,
)

_ARGUMENTS = {
    "choice": ("values",),
    "randint": ("upper",),
    "uniform": ("min", "max"),
    "quniform": ("min", "max", "q"),
    "loguniform": ("min", "max"),
    "qloguniform": ("min", "max", "q"),
    "normal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "lognormal": ("mu", "sigma"),
    "qlognormal": ("mu", "sigma", "q"),
}
_SAMPLINGS = {
    RandomParameterSampling: "random",
    GridParameterSampling: "grid",
    BayesianParameterSampling: "bayesian",
}
_POLICIES: dict[type, tuple[str, tuple[str, ...]]] = {
    BanditPolicy: ("bandit", ("slack_factor", "slack_amount")),
    MedianStoppingPolicy: ("median_stopping", ()),
    TruncationSelectionPolicy: (
        "truncation_selection",
        ("truncation_percentage", "exclude_finished_jobs"),
    ),
}


def sweep_body(config: Any) -> dict[str, Any]:
    """What `POST …/sweeps` takes, without the run of its trials.

    Args:
        config: a HyperDriveConfig.

    Raises:
        UserErrorException: its sampling, its policy or a distribution is none that there is.
    """
    sampling = config.hyperparameter_sampling
    kind = _SAMPLINGS.get(type(sampling))
    if kind is None:
        raise UserErrorException(f"{type(sampling).__name__} is no sampling of hyperparameters.")
    limits: dict[str, Any] = {
        "max_trials": config.max_total_runs,
        "max_duration_seconds": 60 * config.max_duration_minutes,
    }
    if config.max_concurrent_runs is not None:
        limits["max_concurrent_trials"] = config.max_concurrent_runs
    body = {
        "search_space": {
            name: _distribution(name, how) for name, how in sampling.parameter_space.items()
        },
        "algorithm": {"type": kind},
        "objective": {
            "primary_metric": config.primary_metric_name,
            "goal": config.primary_metric_goal.value.lower(),
        },
        "limits": limits,
        # Random values and grids learn nothing from them; they count for the best run all the same.
        "warm_start_from": resumed_ids(config) if kind == "bayesian" else [],
    }
    policy = _policy(config.policy)
    return body if policy is None else body | {"early_termination": policy}


def resumed_ids(config: Any) -> list[str]:
    """Ids of the earlier sweeps of a HyperDriveConfig; none where there is none."""
    resumed = getattr(config, "resume_from", None) or []
    return [one.id for one in (resumed if isinstance(resumed, list | tuple) else [resumed])]


def _distribution(name: str, how: Any) -> dict[str, Any]:
    if not isinstance(how, list) or len(how) != 2 or how[0] not in _ARGUMENTS:
        raise UserErrorException(f"{name}: {how!r} is no distribution; use choice, uniform, …")
    kind, values = how
    return {"type": kind, **dict(zip(_ARGUMENTS[kind], values, strict=True))}


def _policy(policy: Any) -> dict[str, Any] | None:
    if policy is None or isinstance(policy, NoTerminationPolicy):
        return None
    if type(policy) not in _POLICIES:
        raise UserErrorException(f"{type(policy).__name__} is no policy of early termination.")
    kind, names = _POLICIES[type(policy)]
    found = {name: getattr(policy, name) for name in names}
    return {
        "type": kind,
        "evaluation_interval": policy.evaluation_interval,
        "delay_evaluation": policy.delay_evaluation,
        **{name: value for name, value in found.items() if value is not None},
    }
