"""What happens to a sweep next."""

from math import inf

import pytest

from app.sweeps.decide import Decision, View, decide
from app.sweeps.schemas import Limits

LIMITS = Limits(
    max_trials=10, max_concurrent_trials=4, max_duration_seconds=60, max_failed_trials=3
)


def view(
    *, end_reason: str = "", has_error: bool = False, age_seconds: float = 1, total: int = 0,
    active: int = 0, failed: int = 0, is_spent: bool = False, affordable: float = inf,
) -> View:  # fmt: skip
    return View(end_reason, has_error, age_seconds, total, active, failed, is_spent, affordable)


@pytest.mark.parametrize(
    ("seen", "decision"),
    [
        (view(), Decision("", proposes=4)),
        (view(total=3, active=3), Decision("", proposes=1)),
        (view(total=4, active=4), Decision("")),
        (view(total=9, active=2), Decision("", proposes=1)),
        (view(total=10, active=2), Decision("max_trials")),
        (view(total=10), Decision("max_trials", final="Completed")),
        (view(total=5, active=1, failed=3), Decision("max_failed_trials", cancels=True)),
        (view(total=5, failed=3), Decision("max_failed_trials", final="Failed")),
        (view(total=5, active=1, age_seconds=60), Decision("max_duration", cancels=True)),
        (view(total=5, age_seconds=60), Decision("max_duration", final="Completed")),
        (view(total=5, active=1, has_error=True), Decision("trial_refused", cancels=True)),
        (view(has_error=True), Decision("trial_refused", final="Failed")),
        (view(end_reason="canceled", total=2, active=1), Decision("canceled", cancels=True)),
        (view(end_reason="canceled", total=2, failed=3), Decision("canceled", final="Canceled")),
        (view(end_reason="grid_exhausted", total=2, active=1), Decision("grid_exhausted")),
        (view(end_reason="grid_exhausted", total=2), Decision("grid_exhausted", final="Completed")),
        (view(end_reason="nothing_left", total=2, active=1), Decision("nothing_left")),
        (view(end_reason="nothing_left", total=2), Decision("nothing_left", final="Completed")),
        (view(total=3, active=3, affordable=0), Decision("", waits_for_money=True)),
        (view(total=2, active=2, affordable=1), Decision("", proposes=1)),
        (view(total=4, active=4, affordable=0), Decision("")),
        (view(total=3, affordable=0), Decision("max_cost", final="Completed")),
        (view(total=3, active=2, is_spent=True), Decision("max_cost", cancels=True)),
        (
            view(end_reason="max_trials", total=10, active=1, is_spent=True),
            Decision("max_cost", cancels=True),
        ),
        # What ends the trials that go on still can, when no more are proposed.
        (
            view(end_reason="max_trials", total=10, active=1, age_seconds=61),
            Decision("max_duration", cancels=True),
        ),
        # The first such reason stays.
        (
            view(end_reason="max_duration", total=9, active=1, failed=3, age_seconds=61),
            Decision("max_duration", cancels=True),
        ),
    ],
)
def test_what_happens_next(seen: View, decision: Decision) -> None:
    assert decide(seen, LIMITS) == decision


def test_without_a_limit_all_go_at_once_a_few_at_a_time() -> None:
    assert decide(view(), Limits(max_trials=1000)).proposes == 10
    assert decide(view(total=990, active=990), Limits(max_trials=1000)).proposes == 10
