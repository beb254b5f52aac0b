"""Search spaces: distributions, conditions between parameters, and constraints; pure.

The distributions are those of HyperDrive (Azure Machine Learning, "Tune hyperparameters", v1).
Each is a function of a coordinate from 0 to below 1, its quantile: random values, and samplers
that know numbers only, all work on coordinates.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import count
from statistics import NormalDist
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Value = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")] | (
    int | float | bool
)
Values = dict[str, Value]
ParameterName = Annotated[str, StringConstraints(pattern=r"^-{0,2}[A-Za-z_][A-Za-z0-9_.-]{0,99}$")]
MOST_DRAWS = 1000
"""So often values are drawn anew before the constraints are said to leave nothing."""
_LARGEST_EXPONENT = 700.0
_SIGMAS = 10.0
_EDGE = 1e-12
_Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e300, le=1e300)]
_Positive = Annotated[float, Field(allow_inf_nan=False, gt=0, le=1e300)]


class NothingLeft(ValueError):
    """The constraints leave no values, or too few to be found by drawing."""


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


class Uniform(_Between):
    """Any number from ``min`` to ``max``."""

    type: Literal["uniform"]


class QUniform(_Between):
    """round(uniform(min, max) / q) * q."""

    type: Literal["quniform"]
    q: _Positive


class LogUniform(_LogBetween):
    """exp(uniform(min, max))."""

    type: Literal["loguniform"]


class QLogUniform(_LogBetween):
    """round(exp(uniform(min, max)) / q) * q."""

    type: Literal["qloguniform"]
    q: _Positive


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


class LogNormal(_LogBell):
    """exp(normal(mu, sigma))."""

    type: Literal["lognormal"]


class QLogNormal(_LogBell):
    """round(exp(normal(mu, sigma)) / q) * q."""

    type: Literal["qlognormal"]
    q: _Positive


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


class _Constraint(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LessThan(_Constraint):
    """The one parameter is less than the other one."""

    type: Literal["less_than"]
    left: ParameterName
    right: ParameterName


class SumAtMost(_Constraint):
    """The sum of these parameters is at most ``limit``."""

    type: Literal["sum_at_most"]
    parameters: list[ParameterName] = Field(min_length=1, max_length=50)
    limit: _Finite


class ProductAtMost(_Constraint):
    """The product of these parameters is at most ``limit``."""

    type: Literal["product_at_most"]
    parameters: list[ParameterName] = Field(min_length=1, max_length=50)
    limit: _Finite


class Forbidden(_Constraint):
    """These parameters do not all have one of these values at once."""

    type: Literal["forbidden"]
    values: dict[ParameterName, Annotated[list[Value], Field(min_length=1)]] = Field(min_length=1)


Constraint = Annotated[
    LessThan | SumAtMost | ProductAtMost | Forbidden, Field(discriminator="type")
]


def ordered(space: Space) -> list[str]:
    """Names of the parameters, each after those that it depends on, else by name.

    Raises:
        ValueError: a condition names what is no choice, a value that the choice does not have,
            or itself in the end.
    """
    for name, distribution in space.items():
        for parent, values in (distribution.when or {}).items():
            _check_condition(space, name, parent, values)
    placed: list[str] = []
    waiting = sorted(space)
    while waiting:
        ready = [name for name in waiting if set(space[name].when or {}) <= set(placed)]
        if not ready:
            raise ValueError(f"the conditions of {', '.join(waiting)} depend on each other")
        placed += ready
        waiting = [name for name in waiting if name not in ready]
    return placed


def _check_condition(space: Space, name: str, parent: str, values: Sequence[Value]) -> None:
    found = space.get(parent)
    if not isinstance(found, Choice):
        raise ValueError(f"the condition of {name} names {parent}, which is no choice")
    missing = [value for value in values if not _has(found.values, value)]
    if missing:
        raise ValueError(f"the condition of {name} names {missing[0]!r}, no value of {parent}")


def is_active(distribution: Distribution, values: Mapping[str, Value]) -> bool:
    """Whether the conditions of a parameter hold among the values of those before it."""
    return all(
        parent in values and _has(wanted, values[parent])
        for parent, wanted in (distribution.when or {}).items()
    )


def satisfies(constraints: Sequence[Constraint], values: Mapping[str, Value]) -> bool:
    """Whether all constraints hold; one that names an absent parameter does."""
    return all(_holds(constraint, values) for constraint in constraints)


def _holds(constraint: Constraint, values: Mapping[str, Value]) -> bool:
    if isinstance(constraint, Forbidden):
        return not all(
            name in values and _has(forbidden, values[name])
            for name, forbidden in constraint.values.items()
        )
    if isinstance(constraint, LessThan):
        if constraint.left not in values or constraint.right not in values:
            return True
        return _number(values[constraint.left]) < _number(values[constraint.right])
    if any(name not in values for name in constraint.parameters):
        return True
    numbers = [_number(values[name]) for name in constraint.parameters]
    total = sum(numbers) if isinstance(constraint, SumAtMost) else math.prod(numbers)
    return total <= constraint.limit


def _number(value: Value) -> float:
    if isinstance(value, str):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def check_constraints(space: Space, constraints: Sequence[Constraint]) -> None:
    """See that constraints name parameters of the space, and compare numbers.

    Raises:
        ValueError: one does not.
    """
    for constraint in constraints:
        names = _names(constraint)
        for name in names:
            if name not in space:
                raise ValueError(f"a constraint names {name}, which the space does not have")
            distribution = space[name]
            if isinstance(constraint, Forbidden) or not isinstance(distribution, Choice):
                continue
            if any(isinstance(value, str) for value in distribution.values):
                raise ValueError(f"a constraint compares {name}, which has values that are text")


def _names(constraint: Constraint) -> list[str]:
    if isinstance(constraint, LessThan):
        return [constraint.left, constraint.right]
    if isinstance(constraint, Forbidden):
        return list(constraint.values)
    return list(constraint.parameters)


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
    return int(found) if float(q).is_integer() else float(found)


def _same(left: Value, right: Value) -> bool:
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _has(values: Sequence[Value], value: Value) -> bool:
    return any(_same(one, value) for one in values)


def drawn(space: Space, constraints: Sequence[Constraint], *, seed: int, number: int) -> Values:
    """Values at random: always the same for a seed and a number.

    Args:
        space: the parameters.
        constraints: that hold among them.
        seed: of the sweep.
        number: of the trial.

    Raises:
        NothingLeft: the constraints do not hold in a thousand draws.
    """
    order = ordered(space)
    for attempt in range(MOST_DRAWS):
        values: Values = {}
        for name in order:
            if is_active(space[name], values):
                # Not for secrets: anybody may foresee them, and a test does.
                chance = random.Random(f"{seed}/{number}/{attempt}/{name}")  # noqa: S311
                values[name] = value_at(space[name], chance.random())
        if satisfies(constraints, values):
            return values
    raise NothingLeft(f"the constraints held in none of {MOST_DRAWS} draws")


def combinations(space: Space, constraints: Sequence[Constraint]) -> Iterator[Values]:
    """All combinations of a space of choices that the constraints allow, in a fixed order."""
    order = ordered(space)
    for values in _combined(space, order, {}):
        if satisfies(constraints, values):
            yield values


def _combined(space: Space, order: Sequence[str], before: Values) -> Iterator[Values]:
    if not order:
        yield before
        return
    name, *rest = order
    distribution = space[name]
    if not is_active(distribution, before):
        yield from _combined(space, rest, before)
        return
    assert isinstance(distribution, Choice)
    for value in distribution.values:
        yield from _combined(space, rest, {**before, name: value})


def combination(space: Space, constraints: Sequence[Constraint], number: int) -> Values | None:
    """The combination of this number, from 0; None: there are fewer."""
    for place, values in zip(count(), combinations(space, constraints), strict=False):
        if place == number:
            return values
    return None
