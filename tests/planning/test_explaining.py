"""Every run that waits says why, from its submission on, whatever else is wrong or changes."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app.kernel.signals import Signals
from app.planning import snapshot
from app.providers.base import Capacity, Host
from app.providers.fake.provider import FakeProvider
from app.scheduling.planner import plan
from app.scheduling.types import Reason
from app.tables.image import Image
from app.tables.run import Attempt, Run
from tests.costs.test_costs import set_price
from tests.databases import own_database
from tests.live_api import live_api
from tests.made_runs import make_runs
from tests.runs.test_faults import World, codes, fake_world, started
from tests.waiting import until
from workers import reconcile_planning
from workers.carry_out_plan import carry_out
from workers.context import WorkerContext
from workers.reconcile_run import RunReconciler

pytestmark = pytest.mark.anyio
_SIZE = "STANDARD_D13_V2"
_WAITING = ("NotStarted", "Starting", "Preparing", "Queued")


async def cluster_of(world: World, **values: Any) -> str:
    name = f"e-{uuid.uuid4().hex[:8]}"
    body = {"vm_size": "SMALL", **values}
    assert (await world.api.client.put(f"clusters/{name}", json=body)).status_code == 201
    return name


async def test_a_run_says_what_it_waits_for_from_its_submission_until_it_runs(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        run_id = await world.submit(cluster_name=await cluster_of(world))
        name = f"tw-{run_id}-a1-n0"
        seen = []
        while name not in world.fake.specs:
            seen.append(await world.run(run_id))
        await started(world, run_id)

        waiting = [run for run in seen if run["status"] in _WAITING]
        assert waiting
        assert all(codes(run) for run in waiting)


async def test_a_run_waits_for_the_first_look_and_for_the_first_plan(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    def reconcilers(app: Any) -> list[Any]:
        context = WorkerContext(
            settings=app.state.settings,
            database=app.state.database,
            objects=app.state.objects,
            signals=Signals(),
            signer=app.state.signer,
            provider=FakeProvider(capacity=Capacity(1.0, 2**30, 0)),
        )
        return [RunReconciler(context)]  # and nobody who plans

    async with own_database(postgres_url) as url:
        async with live_api(tmp_path, url, broker_url) as api:
            (run_id,) = await make_runs(api, 1)
            run = (await api.client.get(f"runs/{run_id}")).json()
            assert codes(run) == ["preparing"]
            async with api.database.session() as session:
                await session.execute(update(Image).values(state="Ready", python="/bin/true"))
            workspace = api.workspace
        async with live_api(tmp_path, url, broker_url, reconcilers=reconcilers) as api:
            address = f"http://api/v1/workspaces/{workspace}/runs/{run_id}"

            async def is_queued() -> bool:
                run.update((await api.client.get(address)).json())
                return bool(run["status"] == "Queued")

            await until(is_queued)
            assert codes(run) == ["waiting_for_plan"]


async def test_a_run_whose_rows_are_wrong_says_so_and_keeps_nobody_waiting(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        name = await cluster_of(world, max_nodes=1, is_enabled=False)
        wrong = await world.submit(cluster_name=name, priority=100)
        right = await world.submit(cluster_name=name)
        await world.until(wrong, lambda run: codes(run) == ["cluster_disabled"])
        async with world.api.database.session() as session:
            session.add(Attempt(run_id=wrong, number=1))

        await world.api.client.patch(f"clusters/{name}", json={"is_enabled": True})

        await started(world, right)
        await world.api.client.patch(f"clusters/{name}", json={"max_nodes": 2})
        run = await world.until(wrong, lambda run: codes(run) == ["not_written"])
        assert run["blockers"][0]["detail"] == "IntegrityError"
        async with world.api.database.session() as session:
            await session.delete(await session.get_one(Attempt, (wrong, 1)))
        await world.api.client.patch(f"clusters/{name}", json={"max_nodes": 3})
        await started(world, wrong)


async def test_many_whose_reason_changes_learn_it_part_by_part(
    tmp_path: Path, postgres_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile_planning, "_EXPLAINED", 2)
    monkeypatch.setattr(reconcile_planning, "_WRITTEN_AT_ONCE", 1)
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        name = await cluster_of(world, max_nodes=1)
        await started(world, await world.submit(cluster_name=name))
        runs = [await world.submit(cluster_name=name) for _ in range(5)]
        await world.until(runs[-1], lambda run: codes(run) == ["behind_run"])

        await world.api.client.patch(f"clusters/{name}", json={"is_enabled": False})

        for run_id in runs:
            await world.until(run_id, lambda run: codes(run) == ["cluster_disabled"])
            events = (await world.api.client.get(f"runs/{run_id}/events")).json()["items"]
            said = [e["data"]["blockers"][0]["code"] for e in events if e["type"] == "blocked"]
            assert said.count("cluster_disabled") == 1
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


async def test_what_is_kept_for_whoever_leads_is_not_available(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        await set_price(world, _SIZE, 2.0)
        assert (await world.api.client.put("budget", json={"amount": 10})).status_code == 201
        name = await cluster_of(world, vm_size=_SIZE, max_nodes=1)
        first = await world.submit(cluster_name=name, max_run_duration_seconds=3600)
        await started(world, first)
        leads = await world.submit(cluster_name=name, max_run_duration_seconds=3 * 3600)
        await world.until(leads, lambda run: codes(run) == ["no_capacity_now"])

        dear = await world.submit(vm_size=_SIZE, max_run_duration_seconds=2 * 3600)

        run = await world.until(dear, lambda run: codes(run) == ["budget"])
        amounts = [run["blockers"][0][key] for key in ("needed", "available", "budget")]
        assert amounts == pytest.approx([4.0, 2.0, 10.0], abs=0.05)


async def test_who_finds_the_budget_gone_when_the_plan_is_carried_out_waits_for_money(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with own_database(postgres_url) as url, live_api(tmp_path, url, broker_url) as api:
        price = "http://api/v1/vm-sizes/SMALL/price"
        assert (await api.client.put(price, json={"price_per_hour": 2})).status_code == 200
        (run_id,) = await make_runs(api, 1)
        await api.client.put("budget", json={"amount": 10})
        async with api.database.session() as session:
            await session.execute(update(Run).values(status="Queued"))
        hosts = [Host("one", Capacity(cores=64, memory_bytes=2**40, gpus=0))]
        async with api.database.session() as session:
            loaded = await snapshot.load(session, api.settings, hosts)
        decision = plan(loaded.snapshot)
        assert list(decision.placed) == [run_id]
        await api.client.put("budget", json={"amount": 1})

        async with api.database.session() as session:
            done = await carry_out(session, loaded, decision, currency="EUR")

        assert [(item.run_id, item.reason) for item in done.waiting] == [(run_id, Reason.BUDGET)]
        assert (done.money[run_id]["needed"], done.money[run_id]["available"]) == (2.0, 1.0)
        assert (await api.client.get(f"runs/{run_id}")).json()["attempt"] == 0
