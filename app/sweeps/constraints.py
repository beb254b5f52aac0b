"""Constraints among the parameters of a search space; pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.sweeps.distributions import Choice, ParameterName, Space, Value, has

_Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e300, le=1e300)]


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


def satisfies(constraints: Sequence[Constraint], values: Mapping[str, Value]) -> bool:
    """Whether all constraints hold; one that names an absent parameter does."""
    return all(_holds(constraint, values) for constraint in constraints)


def _holds(constraint: Constraint, values: Mapping[str, Value]) -> bool:
    if isinstance(constraint, Forbidden):
        return not all(
            name in values and has(forbidden, values[name])
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
