"""Search spaces: conditions between parameters, values at random and in a grid; pure."""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from app.sweeps.constraints import Constraint, satisfies
from app.sweeps.distributions import Choice, Distribution, Space, Value, Values, has, value_at

MOST_DRAWS = 20_000
"""So often values are drawn anew before the constraints are said to leave nothing."""
_TRIED_DRAWS, _FEWEST_HELD = 2000, 5
"""Where the constraints hold in so few of so many draws, a sweep might find nothing midway."""
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
        NothingLeft: the constraints hold in none of `MOST_DRAWS` draws.
    """
    order = ordered(space)
    for attempt in range(MOST_DRAWS):
        values = _drawn(space, order, f"{seed}/{number}/{attempt}")
        if satisfies(constraints, values):
            return values
    raise NothingLeft(f"the constraints held in none of {MOST_DRAWS} draws")


def _drawn(space: Space, order: Sequence[str], key: str) -> Values:
    values: Values = {}
    for name in order:
        if is_active(space[name], values):
            # Not for secrets: anybody may foresee them, and a test does.
            chance = random.Random(f"{key}/{name}")  # noqa: S311
            values[name] = value_at(space[name], chance.random())
    return values


def tried(space: Space, constraints: Sequence[Constraint]) -> Values:
    """Values for a try; sees that the constraints leave enough to be found by drawing.

    Raises:
        NothingLeft: they hold too seldom.
    """
    order, held = ordered(space), list[Values]()
    for attempt in range(_TRIED_DRAWS):
        values = _drawn(space, order, f"0/0/{attempt}")
        if satisfies(constraints, values):
            held.append(values)
            if len(held) == _FEWEST_HELD:
                return held[0]
    raise NothingLeft(
        f"the constraints held in {len(held)} of {_TRIED_DRAWS} draws, too seldom to find values "
        "for every trial: narrow the search space to what they allow"
    )


def combinations(space: Space, constraints: Sequence[Constraint]) -> Iterator[Values]:
    """All combinations of a space of choices that the constraints allow, in a fixed order."""
    order = ordered(space)
    choices = {name: _distinct(space[name]) for name in order}
    for values in islice(_combined(space, choices, order, {}), MOST_COMBINATIONS):
        if satisfies(constraints, values):
            yield values


def _distinct(distribution: Distribution) -> list[Value]:
    assert isinstance(distribution, Choice)
    found: list[Value] = []
    for value in distribution.values:
        if not has(found, value):
            found.append(value)
    return found


def _combined(
    space: Space, choices: Mapping[str, Sequence[Value]], order: Sequence[str], before: Values
) -> Iterator[Values]:
    if not order:
        yield before
        return
    name, *rest = order
    if not is_active(space[name], before):
        yield from _combined(space, choices, rest, before)
        return
    for value in choices[name]:
        yield from _combined(space, choices, rest, {**before, name: value})
