"""What was spent, as lines, and the budget that it is to stay below."""

from datetime import UTC, datetime, timedelta

import pytest

from app.pictures.spending import Held, Limit, of_held

_SINCE = datetime(2026, 11, 1, tzinfo=UTC)


def test_the_budget_is_what_may_have_been_spent_by_the_end_of_each_period() -> None:
    held = [Held("ada", _SINCE, None, 1.0)]
    budget = Limit(100_000.0, "day", spent_before=10_000.0)

    (panel,), _ = of_held(
        held, since=_SINCE, until=_SINCE + timedelta(days=2), currency="EUR", budget=budget
    )

    everything, line = panel["lines"]
    assert (everything["label"], line["label"]) == ("all", "budget")
    assert line["y"][0] == 90_000.0
    assert line["y"][99] == 90_000.0
    # On the second day the whole amount is free again, whatever the first one cost.
    assert line["y"][100] == pytest.approx(86_400.0 + 100_000.0)
    assert line["y"][199] == line["y"][100]


def test_a_budget_for_all_time_is_one_line_and_none_needs_to_be_there() -> None:
    held = [Held("ada", _SINCE, None, 1.0)]
    until = _SINCE + timedelta(days=40)

    (panel,), _ = of_held(
        held, since=_SINCE, until=until, currency="EUR", budget=Limit(5.0, "total", 7.0)
    )
    assert set(panel["lines"][-1]["y"]) == {0.0}

    (panel,), _ = of_held(held, since=_SINCE, until=until, currency="EUR")
    assert [line["label"] for line in panel["lines"]] == ["all"]
