"""Distributions, samplings and policies as v1 describes them."""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

from trainwright.azureml.exceptions import UserErrorException

Expression = list[Any]


def choice(*options: Any) -> Expression:
    """One of these."""
    flat = options[0] if len(options) == 1 and isinstance(options[0], list | range) else options
    return ["choice", [list(flat)]]


def randint(upper: int) -> Expression:
    """A whole number from 0 to below `upper`."""
    return ["randint", [upper]]


def uniform(min_value: float, max_value: float) -> Expression:
    """Any number in between."""
    return ["uniform", [min_value, max_value]]


def quniform(min_value: float, max_value: float, q: float) -> Expression:
    """A multiple of q in between."""
    return ["quniform", [min_value, max_value, q]]


def loguniform(min_value: float, max_value: float) -> Expression:
    """exp(uniform(min_value, max_value))."""
    return ["loguniform", [min_value, max_value]]


def qloguniform(min_value: float, max_value: float, q: float) -> Expression:
    """exp(uniform(min_value, max_value)), to a multiple of q."""
    return ["qloguniform", [min_value, max_value, q]]


def normal(mu: float, sigma: float) -> Expression:
    """Normally distributed."""
    return ["normal", [mu, sigma]]


def qnormal(mu: float, sigma: float, q: float) -> Expression:
    """Normally distributed, to a multiple of q."""
    return ["qnormal", [mu, sigma, q]]


def lognormal(mu: float, sigma: float) -> Expression:
    """exp(normal(mu, sigma))."""
    return ["lognormal", [mu, sigma]]


def qlognormal(mu: float, sigma: float, q: float) -> Expression:
    """exp(normal(mu, sigma)), to a multiple of q."""
    return ["qlognormal", [mu, sigma, q]]


class PrimaryMetricGoal(Enum):
    """Whether high or low values are good."""

    MAXIMIZE = "MAXIMIZE"
    MINIMIZE = "MINIMIZE"


@dataclass
class RandomParameterSampling:
    """Values at random."""

    parameter_space: dict[str, Any]
    properties: Any = None


@dataclass
class GridParameterSampling:
    """All combinations; of choices only."""

    parameter_space: dict[str, Any]

    def __post_init__(self) -> None:
        wrong = [name for name, how in self.parameter_space.items() if how[0] != "choice"]
        if wrong:
            raise UserErrorException(f"A grid takes choice(...) only, unlike {', '.join(wrong)}.")


@dataclass
class BayesianParameterSampling:
    """Values that earlier ones make likely."""

    parameter_space: dict[str, Any]


@dataclass
class BanditPolicy:
    """End runs that are far behind the best."""

    evaluation_interval: int = 1
    slack_factor: float | None = None
    slack_amount: float | None = None
    delay_evaluation: int = 0

    def __post_init__(self) -> None:
        if (self.slack_factor is None) == (self.slack_amount is None):
            raise UserErrorException("BanditPolicy takes either slack_factor or slack_amount.")
        slack = self.slack_factor if self.slack_factor is not None else self.slack_amount
        if slack is None or slack <= 0 or not math.isfinite(slack):
            raise UserErrorException("The slack of a BanditPolicy is larger than 0.")


@dataclass
class MedianStoppingPolicy:
    """End runs that are worse than the median of averages."""

    evaluation_interval: int = 1
    delay_evaluation: int = 0


@dataclass
class TruncationSelectionPolicy:
    """End the worst of an interval."""

    truncation_percentage: int
    evaluation_interval: int = 1
    delay_evaluation: int = 0
    exclude_finished_jobs: bool = False


class NoTerminationPolicy:
    """End none early."""
