"""The distributions of HyperDrive (Azure Machine Learning, "Tune hyperparameters", v1); pure.

Each is a function of a coordinate from 0 to below 1, its quantile: random values, and samplers
that know numbers only, all work on coordinates.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from statistics import NormalDist
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

_WHOLE = 2**63


def _whole(value: int) -> int:
    if not -_WHOLE <= value < _WHOLE:
        raise ValueError("Whole numbers have at most 64 bits.")
    return value


Value = (
    Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")]
    # No bounds of the document: clients of the released one know none, and nothing else ever went.
    | Annotated[int, AfterValidator(_whole)]
    | Annotated[float, Field(allow_inf_nan=False)]
    | bool
)
Values = dict[str, Value]
ParameterName = Annotated[str, StringConstraints(pattern=r"^-{0,2}[A-Za-z_][A-Za-z0-9_.-]{0,99}$")]
_LARGEST_EXPONENT = 700.0
_SIGMAS = 10.0
_EDGE = 1e-12
_MOST_STEPS = 2.0**53
"""More multiples of q than this, and a float does not tell them apart."""
_Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e300, le=1e300)]
_Positive = Annotated[float, Field(allow_inf_nan=False, gt=0, le=1e300)]


class _Distribution(BaseModel):
    model_config = ConfigDict(extra="forbid")

    when: dict[ParameterName, Annotated[list[Value], Field(min_length=1)]] | None = Field(
        default=None,
        description="Only where these choices have one of these values; otherwise it is left out",
    )


class Choice(_Distribution):
    """One of these values."""

    type: Literal["choice"]
    values: list[Value] = Field(min_length=1, max_length=1000)


class RandInt(_Distribution):
    """A whole number from 0 to below ``upper``."""

    type: Literal["randint"]
    upper: int = Field(ge=1, le=2**53)


class _Between(_Distribution):
    min: _Finite
    max: _Finite

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.min < self.max:
            raise ValueError("min must be less than max")
        return self


class _LogBetween(_Between):
    @model_validator(mode="after")
    def _not_too_large(self) -> Self:
        if max(abs(self.min), abs(self.max)) > _LARGEST_EXPONENT:
            raise ValueError(f"min and max are exponents, between ±{_LARGEST_EXPONENT:g}")
        return self


def _check_steps(largest: float, q: float) -> None:
    if largest / q > _MOST_STEPS:
        raise ValueError(
            f"q is too small for numbers up to {largest:g}: at least {largest / _MOST_STEPS:.3g}"
        )


class Uniform(_Between):
    """Any number from ``min`` to ``max``."""

    type: Literal["uniform"]


class QUniform(_Between):
    """round(uniform(min, max) / q) * q."""

    type: Literal["quniform"]
    q: _Positive

    @model_validator(mode="after")
    def _not_too_fine(self) -> Self:
        _check_steps(max(abs(self.min), abs(self.max)), self.q)
        return self


class LogUniform(_LogBetween):
    """exp(uniform(min, max))."""

    type: Literal["loguniform"]


class QLogUniform(_LogBetween):
    """round(exp(uniform(min, max)) / q) * q."""

    type: Literal["qloguniform"]
    q: _Positive

    @model_validator(mode="after")
    def _not_too_fine(self) -> Self:
        _check_steps(math.exp(self.max), self.q)
        return self


class _Bell(_Distribution):
    mu: _Finite
    sigma: _Positive


class _LogBell(_Bell):
    @model_validator(mode="after")
    def _not_too_large(self) -> Self:
        if abs(self.mu) + _SIGMAS * self.sigma > _LARGEST_EXPONENT:
            raise ValueError(f"|mu| + {_SIGMAS:g} sigma must be at most {_LARGEST_EXPONENT:g}")
        return self


class Normal(_Bell):
    """Normally distributed."""

    type: Literal["normal"]


class QNormal(_Bell):
    """round(normal(mu, sigma) / q) * q."""

    type: Literal["qnormal"]
    q: _Positive

    @model_validator(mode="after")
    def _not_too_fine(self) -> Self:
        _check_steps(abs(self.mu) + _SIGMAS * self.sigma, self.q)
        return self


class LogNormal(_LogBell):
    """exp(normal(mu, sigma))."""

    type: Literal["lognormal"]


class QLogNormal(_LogBell):
    """round(exp(normal(mu, sigma)) / q) * q."""

    type: Literal["qlognormal"]
    q: _Positive

    @model_validator(mode="after")
    def _not_too_fine(self) -> Self:
        _check_steps(math.exp(self.mu + _SIGMAS * self.sigma), self.q)
        return self


Distribution = Annotated[
    Choice
    | RandInt
    | Uniform
    | QUniform
    | LogUniform
    | QLogUniform
    | Normal
    | QNormal
    | LogNormal
    | QLogNormal,
    Field(discriminator="type"),
]
Space = Mapping[str, Distribution]


def value_at(distribution: Distribution, coordinate: float) -> Value:
    """The value at a quantile.

    Args:
        distribution: of the parameter.
        coordinate: from 0 to below 1.
    """
    match distribution:
        case Choice():
            return distribution.values[_index(coordinate, len(distribution.values))]
        case RandInt():
            return _index(coordinate, distribution.upper)
        case QUniform() | QLogUniform() | QNormal() | QLogNormal():
            return _multiple(_continuous(distribution, coordinate), distribution.q)
        case _:
            return _continuous(distribution, coordinate)


def coordinate_of(distribution: Distribution, value: Value) -> float | None:
    """Where a value lies, so that `value_at` gives it back; None: it lies outside."""
    if isinstance(distribution, Choice):
        places = [place for place, one in enumerate(distribution.values) if _same(one, value)]
        return (places[0] + 0.5) / len(distribution.values) if places else None
    if isinstance(value, str | bool):
        return None
    if isinstance(distribution, RandInt):
        is_whole = value == int(value) and 0 <= value < distribution.upper
        return (int(value) + 0.5) / distribution.upper if is_whole else None
    return _placed(distribution, float(value))


def _index(coordinate: float, size: int) -> int:
    return min(int(coordinate * size), size - 1)


def _continuous(distribution: Any, coordinate: float) -> float:
    if isinstance(distribution, _Between):
        found = distribution.min + coordinate * (distribution.max - distribution.min)
    else:
        bell = NormalDist(distribution.mu, distribution.sigma)
        found = bell.inv_cdf(min(max(coordinate, _EDGE), 1 - _EDGE))
    return math.exp(found) if isinstance(distribution, _LogBetween | _LogBell) else found


def _placed(distribution: Any, value: float) -> float | None:
    if isinstance(distribution, _LogBetween | _LogBell):
        if value <= 0:
            # What was rounded to 0 lies at the lower end.
            is_rounded = value == 0 and isinstance(distribution, QLogUniform | QLogNormal)
            return 0.0 if is_rounded else None
        value = math.log(value)
    if isinstance(distribution, _Bell):
        return min(NormalDist(distribution.mu, distribution.sigma).cdf(value), 1 - _EDGE)
    place: float = (value - distribution.min) / (distribution.max - distribution.min)
    if isinstance(distribution, QUniform | QLogUniform):
        # Rounding may have led beyond an end.
        return min(max(place, 0.0), 1 - _EDGE) if _is_near(distribution, value) else None
    return min(place, 1 - _EDGE) if -_EDGE <= place <= 1 + _EDGE else None


def _is_near(distribution: Any, value: float) -> bool:
    low, high = distribution.min, distribution.max
    if isinstance(distribution, QLogUniform):
        value, low, high = math.exp(value), math.exp(low), math.exp(high)
    return bool(low - distribution.q <= value <= high + distribution.q)


def _multiple(value: float, q: float) -> int | float:
    """round(value / q) * q, without the noise of binary fractions; whole where q is."""
    found = Decimal(repr(q)) * round(value / q)
    is_whole = float(q).is_integer() and abs(found) < _WHOLE
    return int(found) if is_whole else float(found)


def _same(left: Value, right: Value) -> bool:
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def has(values: Sequence[Value], value: Value) -> bool:
    """Whether a value is among these; True is not 1."""
    return any(_same(one, value) for one in values)
