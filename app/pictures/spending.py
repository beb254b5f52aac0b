"""What was spent, growing over time: lines by user; pure functions."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from app.costs.periods import Period, bounds
from app.pictures.errors import NothingToPlot
from app.pictures.spec import Line, Panel
from app.pictures.texts import label

MOST_USERS = 12
_POINTS = 200


class Held(NamedTuple):
    """Nodes that somebody held.

    Attributes:
        user: who.
        began_at, ended_at: from when to when; None: they have them.
        per_second: what a second cost.
    """

    user: str
    began_at: datetime
    ended_at: datetime | None
    per_second: float


class Limit(NamedTuple):
    """The present budget of the workspace.

    Attributes:
        amount: in the installation's currency.
        period: what may be spent in it.
        spent_before: of the amount, in the period in which the picture begins, before it begins.
    """

    amount: float
    period: Period
    spent_before: float


def of_held(
    held: Sequence[Held],
    *,
    since: datetime,
    until: datetime,
    currency: str,
    budget: Limit | None = None,
) -> tuple[list[Panel], str]:
    """A panel of what was spent since a moment, together and by user, and what was left out.

    Args:
        held: who held nodes.
        since, until: the time that is drawn.
        currency: of all amounts.
        budget: drawn as what all together may come to by the end of each of its periods.

    Raises:
        NothingToPlot: nobody held nodes, or none of them cost anything.
    """
    by_user: dict[str, list[Held]] = {}
    for item in held:
        if item.per_second > 0:
            by_user.setdefault(item.user, []).append(item)
    if not by_user:
        raise NothingToPlot("Nothing was spent in this time; runs on sizes with a price cost.")
    seconds = (until - since).total_seconds()
    x = [seconds * number / _POINTS for number in range(_POINTS + 1)]
    grown = {user: _growth(items, since, until) for user, items in by_user.items()}
    shown = sorted(grown, key=lambda user: (-grown[user][-1], user))[:MOST_USERS]
    together = [sum(values) for values in zip(*grown.values(), strict=True)]
    lines = [Line(label="all", colour=0, dash=0, x=x, y=[*together])]
    if len(grown) > 1:
        lines += [
            Line(label=label(user), colour=number, dash=0, x=x, y=[*grown[user]])
            for number, user in enumerate(shown, start=1)
        ]
    if budget is not None:
        y = _ceiling(budget, x, together, since)
        lines.append(Line(label="budget", colour=MOST_USERS + 1, dash=1, x=x, y=[*y]))
    panel = Panel(
        title=f"Spent: {together[-1]:.2f} {currency}",
        x_label="",
        y_label=currency,
        from_zero=True,
        log_x=False,
        log_y=False,
        lines=lines,
    )
    left_out = f"{MOST_USERS} of {len(grown)} users" if len(grown) > MOST_USERS else ""
    return [panel], left_out


def _ceiling(
    budget: Limit, x: Sequence[float], together: Sequence[float], since: datetime
) -> list[float]:
    """What may have been spent since the beginning of the picture, at each of its moments."""
    found = []
    may = budget.amount - budget.spent_before
    _, ends = bounds(budget.period, since)
    for seconds, spent in zip(x, together, strict=True):
        moment = since + timedelta(seconds=seconds)
        if ends is not None and moment >= ends:
            may = spent + budget.amount
            _, ends = bounds(budget.period, moment)
        found.append(max(0.0, may))
    return found


def _growth(held: Sequence[Held], since: datetime, until: datetime) -> list[float]:
    """What was spent by each of the moments that are drawn."""
    seconds = (until - since).total_seconds()
    changes: list[tuple[float, float]] = []
    for item in held:
        began = max(0.0, (item.began_at - since).total_seconds())
        ended = min(seconds, ((item.ended_at or until) - since).total_seconds())
        if ended > began:
            changes += [(began, item.per_second), (ended, -item.per_second)]
    changes.sort()
    grown: list[float] = []
    spent, rate, at, following = 0.0, 0.0, 0.0, 0
    for number in range(_POINTS + 1):
        moment = seconds * number / _POINTS
        while following < len(changes) and changes[following][0] <= moment:
            spent += rate * (changes[following][0] - at)
            at = changes[following][0]
            rate += changes[following][1]
            following += 1
        spent += rate * (moment - at)
        at = moment
        grown.append(max(0.0, spent))
    return grown
