"""Search spaces: conditions between parameters, values at random and in a grid; pure."""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from app.sweeps.constraints import Constraint, satisfies
from app.sweeps.distributions import Choice, Distribution, Space, Value, Values, has, value_at

MOST_DRAWS = 1000
"""So often values are drawn anew before the constraints are said to leave nothing."""
MOST_COMBINATIONS = 100_000
"""So many combinations of a grid are looked at."""


class NothingLeft(ValueError):
    """The constraints leave no values, or too few to be found by drawing."""


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
    missing = [value for value in values if not has(found.values, value)]
    if missing:
        raise ValueError(f"the condition of {name} names {missing[0]!r}, no value of {parent}")


def is_active(distribution: Distribution, values: Mapping[str, Value]) -> bool:
    """Whether the conditions of a parameter hold among the values of those before it."""
    return all(
        parent in values and has(wanted, values[parent])
        for parent, wanted in (distribution.when or {}).items()
    )


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
    for values in islice(_combined(space, order, {}), MOST_COMBINATIONS):
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
    return next(islice(combinations(space, constraints), number, None), None)
