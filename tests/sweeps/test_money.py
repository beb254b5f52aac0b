"""What a sweep may still spend."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, update

from app.costs import charges
from app.costs.charges import Spending
from app.sweeps.money import purse_of
from app.tables.cost import Charge
from app.tables.sweep import Trial
from tests.sweeps.searching import Searching, searching

_SIZE = "STANDARD_NC24"
_PRICE = 2.0


def trial(number: int, *, outcome: str = "", cost: float = 0.0, reserved: float = 2.0) -> Trial:
    return Trial(number=number, run_id=f"r{number}", outcome=outcome, cost=cost, reserved=reserved)


def test_money_is_kept_for_trials_that_go_on() -> None:
    trials = [trial(0, outcome="Completed", cost=1.5), trial(1), trial(2), trial(3)]
    spending = {"r1": Spending(0.5, 0.001), "r2": Spending(2.5, 0.001)}
    purse = purse_of(10, trials, spending, next_cost=2)
    # 1.5 and 0.5 and 2.5 are spent; 1.5 is kept for one that goes on, 2 for one that waits.
    assert purse.account.spent == pytest.approx(4.5)
    assert purse.available == pytest.approx(2.0)
    assert (purse.affordable, purse.is_spent, purse.to_stop()) == (1, False, set())
    # One uses what is kept for nobody; after 1500 s, when 0.50 of it are left, two do.
    assert purse.next_stop_seconds() == pytest.approx(1750)


def test_who_used_up_what_was_kept_stops_when_nothing_else_is_left() -> None:
    spending = {"r0": Spending(2.5, 0.001), "r1": Spending(0.5, 0.001)}
    purse = purse_of(4, [trial(0), trial(1)], spending, next_cost=2)
    assert (purse.affordable, purse.to_stop()) == (0, {"r0"})
    spent = purse_of(3, [trial(0), trial(1)], spending, next_cost=2)
    assert (spent.is_spent, spent.to_stop()) == (True, {"r0", "r1"})


def test_what_costs_nothing_has_no_limit() -> None:
    purse = purse_of(1, [trial(0, reserved=0)], {}, next_cost=0)
    assert (purse.affordable, purse.is_spent) == (inf, False)


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[Searching]:
    async with searching(tmp_path, postgres_url, broker_url) as world:
        client = world.api.client
        price = f"http://api/v1/vm-sizes/{_SIZE}/price"
        assert (await client.put(price, json={"price_per_hour": _PRICE})).status_code == 200
        assert (await client.put("clusters/dear", json={"vm_size": _SIZE})).status_code == 201
        world.request |= {"cluster_name": "dear", "max_run_duration_seconds": 3600}
        yield world


async def spend(world: Searching, found: dict[str, Any], hours: float) -> None:
    """Let the run of a trial have had its node for so long."""
    async with world.api.database.session() as session:
        await charges.begin(
            session, run_id=found["run_id"], price_per_node_hour=Decimal(str(_PRICE)), reserved=0
        )
        then = func.clock_timestamp() - timedelta(hours=hours)
        mine = update(Charge).where(Charge.run_id == found["run_id"])
        await session.execute(mine.values(began_at=then))


async def end(world: Searching, sweep_id: str, found: dict[str, Any]) -> None:
    async with world.api.database.session() as session:
        await charges.end(session, found["run_id"])
    await world.end(sweep_id, found)


@pytest.mark.anyio
async def test_trials_wait_for_money_and_the_sweep_ends_without_it(world: Searching) -> None:
    sweep_id = await world.create(limits={"max_trials": 9, "max_cost": 5.0})
    # Two of 2.00 each fit into 5.00; the third waits for what the others do not use.
    waiting = await world.until(sweep_id, lambda sweep: sweep["blockers"] != [])
    (blocker,) = waiting["blockers"]
    assert (blocker["code"], blocker["object"]) == ("budget", "max_cost of the sweep")
    assert (blocker["needed"], blocker["available"]) == (2.0, 1.0)
    assert waiting["trials_count"] == 2
    first, second = await world.trials(sweep_id, 2)

    await spend(world, first, 0.4)
    await end(world, sweep_id, first)
    third = (await world.trials(sweep_id, 3))[2]
    await spend(world, second, 1.0)
    await end(world, sweep_id, second)
    await world.until(sweep_id, lambda sweep: sweep["completed_count"] == 2)
    await spend(world, third, 0.75)
    await end(world, sweep_id, third)
    done = await world.until(sweep_id, lambda sweep: sweep["ended_at"] is not None)

    assert (done["status"], done["end_reason"]) == ("Completed", "max_cost")
    assert (done["trials_count"], done["blockers"]) == (3, [])
    assert done["cost"] == pytest.approx(4.3, abs=0.05)
    costs = [found["cost"] for found in await world.trials(sweep_id)]
    assert costs == pytest.approx([0.8, 2.0, 1.5], abs=0.05)


@pytest.mark.anyio
async def test_what_goes_on_is_stopped_when_all_is_spent(world: Searching) -> None:
    sweep_id = await world.create(limits={"max_trials": 9, "max_cost": 4.0})
    first, second = await world.trials(sweep_id, 2)
    await spend(world, first, 2.5)
    done = await world.until(sweep_id, lambda sweep: sweep["end_reason"] == "max_cost")
    assert done["ended_at"] is None
    for found in (first, second):
        assert (await world.run(found))["status"] == "CancelRequested"
        events = (await world.api.client.get(f"runs/{found['run_id']}/events")).json()["items"]
        assert events[-1]["reason"] == "the sweep has spent its max_cost"
        await world.end(sweep_id, found, "Canceled")
    assert (await world.until(sweep_id, lambda sweep: sweep["ended_at"]))["status"] == "Completed"


@pytest.mark.anyio
async def test_a_budget_that_no_trial_fits_into_is_refused(world: Searching) -> None:
    body = world.body(limits={"max_trials": 9, "max_cost": 1.5})
    key = {"Idempotency-Key": uuid.uuid4().hex}
    answer = await world.api.client.post("sweeps", json=body, headers=key)
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["pointer"]) == (422, "/limits/max_cost")
    assert (error["code"], "2.00 EUR" in error["message"]) == ("dearer_than_max_cost", True)
    body["trial"] = {**world.request, "max_run_duration_seconds": 1800}
    assert (await world.api.client.post("sweeps", json=body, headers=key)).status_code == 201
