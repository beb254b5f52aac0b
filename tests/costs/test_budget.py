"""Budgets: who is placed, who has to stop, and that no more is spent than may be."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.costs.budget import (
    BUDGET_SPENT,
    MAX_COST_SPENT,
    Account,
    Held,
    available,
    covers,
    next_stop_seconds,
    reservation,
    to_stop,
)

_MONEY = st.floats(0, 1000, allow_nan=False).map(lambda value: round(value, 3))
_RATES = st.sampled_from((0.0, 0.01, 0.5, 2.0))


@st.composite
def held(draw: st.DrawFn) -> list[Held]:
    """Attempts of one workspace."""
    return [
        Held(
            run_id=f"r{number}",
            workspace_id="w",
            per_second=draw(_RATES),
            spent=(spent := draw(_MONEY)),
            reserved=draw(_MONEY),
            run_spent=spent + draw(_MONEY),
            max_cost=draw(st.one_of(st.just(inf), _MONEY)),
            is_ending=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 6)))
    ]


def later(account: Account, items: list[Held], seconds: float) -> tuple[Account, list[Held]]:
    """The same after a time in which everybody went on."""
    cost = sum(item.per_second * seconds for item in items)
    return replace(account, spent=account.spent + cost), [
        replace(
            item,
            spent=item.spent + item.per_second * seconds,
            run_spent=item.run_spent + item.per_second * seconds,
        )
        for item in items
    ]


@given(items=held(), amount=_MONEY, spent=_MONEY, part=st.floats(0.0, 0.99))
def test_nobody_has_to_stop_before_it_was_said(
    items: list[Held], amount: float, spent: float, part: float
) -> None:
    account = Account(amount, spent)
    now = to_stop({"w": account}, items)
    pause = next_stop_seconds({"w": account}, items)
    if now or pause == inf:
        assert not now or pause < 1e-3
        return
    between = later(account, items, pause * part)
    # What is a rounding error away from its end may be stopped just before it.
    if pause * (1 - part) > 1e-3:
        assert to_stop({"w": between[0]}, between[1]) == {}
    if any(item.is_ending for item in items):
        return  # who is beyond may be one that is ending
    after = later(account, items, pause + 1e-3)
    assert to_stop({"w": after[0]}, after[1])


@given(
    amount=st.floats(1, 500),
    wanted=st.lists(st.tuples(st.sampled_from((0.5, 2.0)), st.floats(1, 200)), max_size=8),
)
def test_runs_with_limits_never_spend_more_than_the_budget(
    amount: float, wanted: list[tuple[float, float]]
) -> None:
    account, items = Account(amount, 0.0), list[Held]()
    for number, (per_second, seconds) in enumerate(wanted):
        cost = reservation(
            price_per_node_hour=per_second * 3600, node_count=1, limit_seconds=seconds
        )
        if covers(available(account, items), cost):
            items.append(Held(f"r{number}", "w", per_second, 0.0, cost))
    assert sum(item.reserved for item in items) <= amount + 1e-3
    # All of them end by their limit, and none had to be stopped for the others' sake before.
    halfway = later(
        account, items, 0.5 * min((i.reserved / i.per_second for i in items), default=0)
    )
    assert to_stop({"w": halfway[0]}, halfway[1]) == {}


@given(items=held(), amount=_MONEY, spent=_MONEY)
def test_what_costs_nothing_is_never_stopped(
    items: list[Held], amount: float, spent: float
) -> None:
    stopped = to_stop({"w": Account(amount, spent)}, items)
    assert not [i for i in items if i.run_id in stopped and (i.per_second == 0 or i.is_ending)]


@given(
    price=st.floats(0, 100),
    nodes=st.integers(1, 100),
    limit=st.one_of(st.just(inf), st.floats(1, 1e6)),
    left=st.one_of(st.just(inf), _MONEY),
)
def test_what_is_kept_is_the_most_that_it_may_cost(
    price: float, nodes: int, limit: float, left: float
) -> None:
    kept = reservation(price_per_node_hour=price, node_count=nodes, limit_seconds=limit, left=left)
    assert 0.0 <= kept <= left or price == 0
    if limit < inf:
        assert kept <= price * nodes * limit / 3600 * (1 + 1e-9)


def test_those_without_a_reservation_stop_first_and_all_when_nothing_is_left() -> None:
    kept = Held("kept", "w", 1.0, 10.0, 60.0)
    beyond = Held("beyond", "w", 1.0, 40.0, 30.0)
    assert to_stop({"w": Account(100.0, 49.0)}, [kept, beyond]) == {}
    assert to_stop({"w": Account(100.0, 50.0)}, [kept, beyond]) == {"beyond": BUDGET_SPENT}
    assert to_stop({"w": Account(100.0, 100.0)}, [kept, beyond]) == {
        "kept": BUDGET_SPENT,
        "beyond": BUDGET_SPENT,
    }
    # 1 a second is used of what is kept for nobody, 20 of which are left.
    assert next_stop_seconds({"w": Account(100.0, 30.0)}, [kept, beyond]) == pytest.approx(20.0)


def test_a_run_stops_at_its_own_limit_without_any_budget() -> None:
    run = Held("r", "w", 0.5, 10.0, 12.0, run_spent=12.0, max_cost=12.0)
    assert to_stop({}, [run]) == {"r": MAX_COST_SPENT}
    assert next_stop_seconds({}, [replace(run, run_spent=10.0)]) == pytest.approx(4.0)
