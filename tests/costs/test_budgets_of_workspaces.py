"""Budgets as workspaces and administrators see them: waiting for money, and the hard stop."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.tables.cost import Charge
from tests.costs.test_costs import held_for, set_price
from tests.runs.test_faults import World, codes, fake_world, started

pytestmark = pytest.mark.anyio
_SIZE = "STANDARD_D13_V2"
_STOPPED = [{"exit_code": None, "signal": "SIGTERM", "stopped": True}]


async def put_budget(world: World, amount: float, **more: Any) -> dict[str, Any]:
    answer = await world.api.client.put("budget", json={"amount": amount, **more})
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def stopped(world: World, run_id: str, name: str) -> dict[str, Any]:
    """Let the run's only node end as it is told; the run."""
    await world.until(run_id, lambda run: run["status"] == "CancelRequested")
    await world.say(name, "exited", processes=_STOPPED, reason="stopped")
    await world.say(name, "finished")
    return await world.until(run_id, lambda run: run["status"] == "Canceled")


async def test_a_run_waits_until_the_budget_covers_it(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        await set_price(world, _SIZE, 2.0)
        made = await put_budget(world, 10.0)
        assert (made["available"], made["spent"], made["currency"]) == (10.0, 0.0, "EUR")
        first = await world.submit(vm_size=_SIZE, max_run_duration_seconds=4 * 3600)
        await started(world, first)
        held = (await world.api.client.get("budget")).json()
        assert (held["reserved"], held["available"]) == pytest.approx((8.0, 2.0), abs=0.05)

        second = await world.submit(vm_size=_SIZE, max_run_duration_seconds=3 * 3600)
        run = await world.until(second, lambda run: codes(run) == ["budget"])
        (blocker,) = run["blockers"]
        assert blocker["object"] == "budget of the workspace"
        amounts = [blocker[key] for key in ("needed", "available", "budget")]
        assert amounts == pytest.approx([6.0, 2.0, 10.0], abs=0.05)
        assert blocker["currency"] == "EUR"
        assert blocker["period_ends_at"] == held["period_ends_at"].replace("Z", "+00:00")
        small = await world.submit(vm_size=_SIZE, max_cost=1.5)
        await started(world, small)
        await put_budget(world, 20.0, period="week")
        await started(world, second)


async def test_runs_that_are_submitted_at_once_do_not_share_what_is_left(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        await set_price(world, _SIZE, 2.0)
        await put_budget(world, 7.0)
        runs = await asyncio.gather(
            *(world.submit(vm_size=_SIZE, max_run_duration_seconds=3600) for _ in range(6))
        )

        async def waiting() -> list[str]:
            shown = [await world.run(run_id) for run_id in runs]
            return [run["id"] for run in shown if codes(run) == ["budget"]]

        for _ in range(600):
            if len(await waiting()) == 3:
                break
            await asyncio.sleep(0.05)
        assert len(await waiting()) == 3
        async with world.api.database.session() as session:
            kept = await session.scalars(select(Charge.reserved).where(Charge.run_id.in_(runs)))
            assert sorted(map(float, kept)) == [2.0, 2.0, 2.0]


async def test_what_runs_is_stopped_when_the_budget_is_spent(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        await set_price(world, _SIZE, 2.0)
        await put_budget(world, 10.0, period="total")
        run_id = await world.submit(vm_size=_SIZE)
        name = await started(world, run_id)
        await held_for(world, run_id, 5.0)
        await put_budget(world, 9.5, period="total")
        run = await stopped(world, run_id, name)
        assert run["error"]["code"] == "budget_spent"
        events = (await world.api.client.get(f"runs/{run_id}/events")).json()["items"]
        asked = [e for e in events if e["data"].get("to") == "CancelRequested"]
        assert "budget" in asked[0]["reason"]
        assert (await world.api.client.get("budget")).json()["spent"] == pytest.approx(10, abs=0.1)


async def test_a_run_is_stopped_at_its_max_cost_by_itself(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        await set_price(world, _SIZE, 2.0)
        run_id = await world.submit(vm_size=_SIZE, max_cost=9.5)
        name = await started(world, run_id)
        await held_for(world, run_id, 5.0)
        run = await stopped(world, run_id, name)
        assert run["error"]["code"] == "max_cost_spent"
        assert run["cost"] == pytest.approx(10, abs=0.1)


async def test_the_budget_is_a_resource(tmp_path: Path, postgres_url: str, broker_url: str) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        client = world.api.client
        assert (await client.get("budget")).json()["code"] == "budget_not_found"
        made = await client.put("budget", json={"amount": 5})
        assert (made.status_code, made.json()["period"]) == (201, "month")
        etag = (await client.get("budget")).headers["etag"]
        body = {"amount": 6}
        first = await client.put("budget", json=body, headers={"If-Match": etag})
        second = await client.put("budget", json=body, headers={"If-Match": etag})
        assert (first.status_code, second.status_code) == (200, 412)
        for bad in ({"amount": -1}, {"amount": 1, "period": "year"}, {"amount": 1, "x": 1}):
            assert (await client.put("budget", json=bad)).status_code == 422
        audit = (await client.get("audit")).json()["items"]
        assert "put_budget" in {event["operation"] for event in audit}
        assert (await client.delete("budget")).status_code == 204
        assert (await client.delete("budget")).status_code == 204
        name = f"u-{uuid.uuid4().hex[:8]}"
        assert (await client.get(f"http://api/v1/workspaces/{name}/budget")).status_code == 404
