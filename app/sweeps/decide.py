"""What happens to a sweep next; pure."""

from dataclasses import dataclass
from math import inf

from app.sweeps.schemas import Limits

AT_ONCE = 10
"""So many trials are submitted in one transaction."""


@dataclass(frozen=True)
class View:
    """How a sweep stands.

    Attributes:
        end_reason: why no more trials are proposed; empty while they are.
        has_error: whether a trial was refused.
        age_seconds: how long ago it was made.
        total, active, failed: trials.
        is_spent: whether the trials have cost what they may.
        affordable: for how many more trials there is money.
    """

    end_reason: str
    has_error: bool
    age_seconds: float
    total: int
    active: int
    failed: int
    is_spent: bool = False
    affordable: float = inf


@dataclass(frozen=True)
class Decision:
    """What to do.

    Attributes:
        end_reason: as it is from now on.
        cancels: whether the trials that go on are to end.
        proposes: how many trials to propose.
        final: the state in which the sweep is over; empty: it goes on.
        waits_for_money: whether a trial more would be proposed, if there were money for it.
    """

    end_reason: str
    cancels: bool = False
    proposes: int = 0
    final: str = ""
    waits_for_money: bool = False


_CANCELING = frozenset(
    {"canceled", "max_cost", "max_duration", "max_failed_trials", "trial_refused"}
)
_FINAL = {"canceled": "Canceled", "max_failed_trials": "Failed", "trial_refused": "Failed"}


def decide(view: View, limits: Limits) -> Decision:
    """Find out what to do; the first limit that is reached counts."""
    reason = view.end_reason
    if reason not in _CANCELING:
        # What ends the trials that go on still can, when no more are proposed.
        reason = _exceeded(view, limits) or reason
    if not reason and view.total >= limits.max_trials:
        reason = "max_trials"
    if not reason and view.affordable < 1 and view.active == 0:
        # None is left that could cost less than was kept for it.
        reason = "max_cost"
    if reason:
        return Decision(
            reason,
            cancels=reason in _CANCELING and view.active > 0,
            final="" if view.active else _FINAL.get(reason, "Completed"),
        )
    most = limits.max_concurrent_trials or limits.max_trials
    room = min(limits.max_trials - view.total, most - view.active)
    wanted = max(0, min(room, AT_ONCE))
    proposes = int(min(wanted, view.affordable))
    return Decision("", proposes=proposes, waits_for_money=wanted > 0 and proposes == 0)


def _exceeded(view: View, limits: Limits) -> str:
    if view.has_error:
        return "trial_refused"
    if limits.max_failed_trials is not None and view.failed >= limits.max_failed_trials:
        return "max_failed_trials"
    if view.is_spent:
        return "max_cost"
    if limits.max_duration_seconds is not None and view.age_seconds >= limits.max_duration_seconds:
        return "max_duration"
    return ""
