"""What runs cost: nodes for the time they were held, at the price of the moment they were given."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, update

from app.costs.periods import bounds
from app.planning.service import wake_planner
from app.tables.cost import Charge
from tests.runs.test_faults import World, fake_world, started

pytestmark = pytest.mark.anyio
_SIZES = "http://api/v1/vm-sizes"
_LOCAL_SIZE = "STANDARD_F4S_V2"


async def set_price(world: World, size: str, price: float) -> None:
    """Set the price of a size."""
    body = {"price_per_hour": price}
    answer = await world.api.client.put(f"{_SIZES}/{size}/price", json=body)
    assert answer.status_code == 200, answer.text


async def held_for(world: World, run_id: str, hours: float) -> None:
    """Let the run's nodes have been held for so long by now."""
    async with world.api.database.session() as session:
        # It was to look when the money would have been spent by the true clock.
        await wake_planner(session)
        then = func.clock_timestamp() - timedelta(hours=hours)
        await session.execute(
            update(Charge)
            .where(Charge.run_id == run_id, Charge.ended_at.is_(None))
            .values(began_at=then)
        )


async def finished(world: World, run_id: str, name: str) -> dict[str, Any]:
    """Let the run's only node end well."""
    await world.say(name, "exited", processes=[{"exit_code": 0}])
    await world.say(name, "finished")
    return await world.until(run_id, lambda run: run["status"] == "Completed")


async def test_a_run_costs_what_its_nodes_were_held_for_at_their_price(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        await set_price(world, _LOCAL_SIZE, 3.0)
        run_id = await world.submit(vm_size=_LOCAL_SIZE)
        assert (await world.run(run_id))["cost"] == 0.0
        name = await started(world, run_id)
        await held_for(world, run_id, 2.0)
        assert (await world.run(run_id))["cost"] == pytest.approx(6.0, abs=0.02)

        # Who has nodes keeps their price, and what was spent stays spent.
        await set_price(world, _LOCAL_SIZE, 5.0)
        run = await finished(world, run_id, name)
        assert run["cost"] == pytest.approx(6.0, abs=0.05)
        shown = await world.api.client.patch(f"runs/{run_id}", json={"display_name": "x"})
        assert shown.json()["cost"] == run["cost"] == (await world.run(run_id))["cost"]

        sizes = (await world.api.client.get(_SIZES)).json()["items"]
        (size,) = [item for item in sizes if item["name"] == _LOCAL_SIZE]
        assert (size["price_per_hour"], size["currency"]) == (5.0, "EUR")
        history = (await world.api.client.get(f"{_SIZES}/{_LOCAL_SIZE}/prices")).json()["items"]
        assert [item["price_per_hour"] for item in history[:2]] == [5.0, 3.0]

        for by, expected in (
            ("user", "test"),
            ("experiment", "faults"),
            ("cluster", run["cluster_name"]),
            ("vm_size", _LOCAL_SIZE),
        ):
            since = {"since": "2020-01-01T00:00:00Z"}
            report = await world.api.client.get("costs", params={"by": by, **since})
            (item,) = report.json()["items"]
            assert item["cost"] == pytest.approx(run["cost"], abs=1e-6)
            assert item["node_hours"] == pytest.approx(2.0, abs=0.02)
            assert item["runs"] == 1
            assert by == "user" or item["name"] == expected
        # What is yet to come is not counted, so that all pages are about the same costs.
        ahead = {**since, "until": "2199-01-01T00:00:00Z"}
        report = (await world.api.client.get("costs", params=ahead)).json()
        assert report["cost"] == pytest.approx(run["cost"], abs=1e-6)
        assert datetime.fromisoformat(report["until"]) < datetime.now(UTC) + timedelta(hours=1)
        mine = await world.api.client.get("http://api/v1/costs/mine", params=since)
        names = {item["name"] for item in mine.json()["items"]}
        assert world.api.workspace in names
        every = await world.api.client.get("http://api/v1/costs", params=since)
        assert world.api.workspace in {item["name"] for item in every.json()["items"]}

        # A deleted run was paid for all the same.
        assert (await world.api.client.delete(f"runs/{run_id}")).status_code == 204
        after = (await world.api.client.get("costs", params=since)).json()
        assert after["cost"] == pytest.approx(run["cost"], abs=1e-6)
        picture = await world.api.client.get("costs.png", params=since)
        assert picture.status_code == 200, picture.text
        assert picture.content.startswith(b"\x89PNG")


async def test_each_attempt_counts(tmp_path: Path, postgres_url: str, broker_url: str) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        await set_price(world, "STANDARD_E4S_V3", 1.0)
        run_id = await world.submit(vm_size="STANDARD_E4S_V3")
        name = await started(world, run_id)
        await held_for(world, run_id, 1.0)
        world.fake.lose(name)
        name = await started(world, run_id, attempt=2)
        await held_for(world, run_id, 2.0)
        run = await finished(world, run_id, name)
        assert run["cost"] == pytest.approx(3.0, abs=0.05)


async def test_prices_that_cannot_be_are_refused(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        client = world.api.client
        unknown = await client.put(f"{_SIZES}/none-{uuid.uuid4().hex}/price", json={})
        assert unknown.status_code in (404, 422)
        gone = await client.get(f"{_SIZES}/none/prices")
        assert (gone.status_code, gone.json()["code"]) == (404, "vm_size_not_found")
        negative = await client.put(f"{_SIZES}/SMALL/price", json={"price_per_hour": -1})
        assert negative.status_code == 422
        local = await client.get("costs", params={"since": "2026-01-01T00:00:00"})
        assert local.json()["errors"][0]["code"] == "offset_missing"
        nothing = await client.get("costs.png")
        assert (nothing.status_code, nothing.json()["code"]) == (404, "nothing_to_plot")


@given(
    now=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    period=st.sampled_from(("day", "week", "month")),
)
def test_periods_follow_each_other_without_gaps(now: datetime, period: Any) -> None:
    begins, ends = bounds(period, now)
    assert ends is not None
    assert begins <= now < ends
    assert bounds(period, ends)[0] == ends
    assert bounds(period, ends - timedelta(microseconds=1)) == (begins, ends)
