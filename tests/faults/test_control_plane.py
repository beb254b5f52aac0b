"""Faults of the control plane's own parts: database, leases, hints, many callers at once."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
import structlog
from psycopg.errors import DeadlockDetected
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.signals import Signals
from app.tables.planning import ALL
from tests.faults.invariants import Installation, breaches
from tests.live_api import live_api
from tests.runs.test_faults import World, fake_world
from workers.context import WorkerContext
from workers.engine import Engine
from workers.reconcile_planning import PlanningReconciler
from workers.reconcile_run import RunReconciler

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120, func_only=True)]


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        yield world


async def asked(world: World, method: str, path: str, **more: Any) -> httpx2.Response:
    """Ask until there is an answer that is not "later"; nothing else may go wrong."""
    while (answer := await world.api.client.request(method, path, **more)).status_code == 503:
        assert answer.headers["retry-after"]
        await asyncio.sleep(0.05)
    assert answer.status_code < 500, answer.text
    return answer


async def live(world: World, run_id: str, *, ends: str = "Completed") -> None:
    """Play the runner of every attempt of a run of one node until the run has ended."""
    said: set[tuple[str, str]] = set()
    async with asyncio.timeout(100):
        while True:
            run = (await asked(world, "GET", f"runs/{run_id}")).json()
            if run["ended_at"]:
                assert run["status"] == ends, run
                return
            name = f"tw-{run_id}-a{run['attempt']}-n0"
            for word in ("ready", "started", "exited", "finished"):
                spec = world.fake.specs.get(name)
                if spec is None or (name, word) in said:
                    continue
                details = {"processes": [{"exit_code": 0}]} if word == "exited" else {}
                answer = await asked(
                    world,
                    "POST",
                    "http://api/v1/node/events",
                    json={"event": word, **details},
                    headers={"Authorization": f"Bearer {spec.token}"},
                )
                if answer.status_code == 200:
                    said.add((name, word))
                break
            await asyncio.sleep(0.02)


async def assert_whole(world: World, answered: list[tuple[str, str]] | None = None) -> None:
    url = world.api.settings.database_url.get_secret_value()
    installation = Installation(url, world.api.objects.root, answered or [])
    async with asyncio.timeout(30):
        while found := await asyncio.to_thread(breaches, installation):
            await asyncio.sleep(0.1)
            last = found
    assert not found, last
    assert not [name for name in world.fake.specs if "run_" in name]


@pytest.mark.fault(14, 19)
@pytest.mark.parametrize("is_carried_out", [False, True])
async def test_commits_of_reconcilers_that_fail_or_whose_answer_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, is_carried_out: bool
) -> None:
    commit = AsyncSession.commit
    chance = random.Random(7)
    count = 0

    async def fail_sometimes(session: AsyncSession) -> None:
        nonlocal count
        is_by_reconciler = "row_id" in structlog.contextvars.get_contextvars()
        is_hit = is_by_reconciler and chance.random() < 0.1
        count += is_hit
        if is_carried_out or not is_hit:
            await commit(session)
        if is_hit:
            raise OperationalError("COMMIT", {}, DeadlockDetected("as the test wants it"))

    monkeypatch.setattr(AsyncSession, "commit", fail_sometimes)
    runs = [await world.submit() for _ in range(3)]
    await asyncio.gather(*(live(world, run_id) for run_id in runs))
    monkeypatch.undo()

    assert count >= 3
    await assert_whole(world)


@pytest.mark.fault(13, 15)
async def test_all_connections_are_cut_again_and_again_under_load(world: World) -> None:
    url = world.api.settings.database_url.get_secret_value().replace("+psycopg", "")
    cut = 0

    async def cut_for_ever() -> None:
        nonlocal cut
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            while True:
                await asyncio.sleep(random.uniform(0.1, 0.5))
                done = await connection.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                row = await done.fetchone()
                cut += row[0] if row else 0

    runs = [await world.submit() for _ in range(5)]
    cutting = asyncio.create_task(cut_for_ever())
    working = asyncio.gather(*(live(world, run_id) for run_id in runs))
    await asyncio.sleep(3)
    while cut <= 5:
        await asyncio.sleep(0.1)
    cutting.cancel()
    with suppress(asyncio.CancelledError):
        await cutting
    await working

    assert cut > 5
    await assert_whole(world)


class _Forgetful(Engine):
    """An engine that never extends its leases, so that others take its rows over at work."""

    async def _extend(self, table: Any, lease: Any) -> None:
        await asyncio.Event().wait()


@pytest.mark.fault(7, 8, 25)
async def test_three_engines_steal_each_others_rows_while_hints_hail_down(world: World) -> None:
    state = world.api.app.state
    context = WorkerContext(
        settings=state.settings,
        database=state.database,
        objects=state.objects,
        signals=Signals(),
        signer=state.signer,
        provider=world.fake,
    )
    engines = [
        _Forgetful(
            state.database,
            [PlanningReconciler(context), RunReconciler(context)],
            lease_seconds=0.02,
            poll_seconds=0.02,
        )
        for _ in range(3)
    ]
    runs = [await world.submit() for _ in range(8)]

    async def hail() -> None:
        while True:
            for _ in range(10):
                engine = random.choice(engines)
                engine.hint("runs", random.choice(runs))
                engine.hint("planning", ALL)
            await asyncio.sleep(0.02)

    others = [asyncio.create_task(engine.poll_forever()) for engine in engines]
    others.append(asyncio.create_task(hail()))
    await asyncio.gather(*(live(world, run_id) for run_id in runs))
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for engine in engines:
        await engine.close()

    await assert_whole(world)


@pytest.mark.fault(51)
async def test_one_key_fifty_times_at_once_is_one_run(world: World) -> None:
    run_id = await world.submit()
    request = (await asked(world, "GET", f"runs/{run_id}")).json()
    body = {
        "experiment_name": "faults",
        "snapshot_id": request["snapshot_id"],
        "cluster_name": request["cluster_name"],
        "entry_script": "train.py",
    }
    key = {"Idempotency-Key": uuid.uuid4().hex}

    answers = await asyncio.gather(
        *(world.api.client.post("runs", json=body, headers=key) for _ in range(50))
    )
    other = await world.api.client.post("runs", json={**body, "priority": 1}, headers=key)

    assert {answer.status_code for answer in answers} <= {201, 409, 503}
    made = [(key["Idempotency-Key"], a.json()["id"]) for a in answers if a.status_code == 201]
    assert made
    assert len({run for _, run in made}) == 1
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    url = world.api.settings.database_url.get_secret_value()
    found = await asyncio.to_thread(breaches, Installation(url, None, made), is_over=False)
    assert found == []
    listed = (await asked(world, "GET", "runs")).json()["items"]
    assert len(listed) == 2


@pytest.mark.fault(21)
async def test_two_hundred_writers_on_the_smallest_pool(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with live_api(tmp_path, postgres_url, broker_url, database_pool_size=1) as api:
        names = [f"c-{number}" for number in range(200)]
        body = {"vm_size": "SMALL"}
        answers = await asyncio.gather(
            *(api.client.put(f"clusters/{name}", json=body) for name in names)
        )

        assert {answer.status_code for answer in answers} <= {201, 503}
        assert all(a.headers["retry-after"] for a in answers if a.status_code == 503)
        for name, answer in zip(names, answers, strict=True):
            there = (await api.client.get(f"clusters/{name}")).status_code
            assert there == (200 if answer.status_code == 201 else 404)
