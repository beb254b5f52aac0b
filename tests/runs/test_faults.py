"""What runs and clusters say and do when the provider of nodes fails them."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app.kernel.signals import Signals
from app.providers.base import LOCAL, Capacity, HostLost, NodeRefused, ProviderError
from app.providers.fake.faults import Fault, Verb
from app.providers.fake.provider import FakeProvider
from app.runs import interruptions
from app.tables.image import Image
from app.tables.run import Run, RunEvent, RunNode
from tests.databases import own_database
from tests.live_api import LiveApi, live_api
from tests.runs.test_submission import packed
from tests.waiting import until
from workers.context import WorkerContext
from workers.reconcile_planning import PlanningReconciler
from workers.reconcile_run import RunReconciler

pytestmark = pytest.mark.anyio
_AWAY = ProviderError("the engine is away")


@dataclass
class World:
    """An installation whose nodes are entries in the memory of a fake provider."""

    api: LiveApi
    fake: FakeProvider

    async def submit(self, **values: Any) -> str:
        """A run on a new cluster, with an environment that is built already."""
        cluster = f"c-{uuid.uuid4().hex[:8]}"
        size = values.pop("vm_size", "SMALL")
        made = await self.api.client.put(f"clusters/{cluster}", json={"vm_size": size})
        assert made.status_code == 201, made.text
        snapshot = await self.api.client.put("snapshots", content=packed(train__py="print(1)"))
        body = {
            "experiment_name": "faults",
            "snapshot_id": snapshot.json()["id"],
            "cluster_name": cluster,
            "entry_script": "train.py",
            "environment": {"pip_packages": [f"none-{uuid.uuid4().hex}==1"]},
            **values,
        }
        answer = await self.api.client.post("runs", json=body)
        assert answer.status_code == 201, answer.text
        run = answer.json()
        async with self.api.database.session() as session:
            built = update(Image).where(Image.id == run["image_hash"])
            await session.execute(built.values(state="Ready", python="/usr/bin/python3"))
        return str(run["id"])

    async def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.api.client.get(f"runs/{run_id}")).json()
        return found

    async def until(self, run_id: str, what: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until the run is so."""
        seen: dict[str, Any] = {}

        async def is_so() -> bool:
            seen.update(await self.run(run_id))
            return bool(what(seen))

        try:
            await until(is_so)
        except AssertionError:
            raise AssertionError(f"it never came to that: {seen}") from None
        return seen

    async def say(self, name: str, event: str, **details: Any) -> int:
        """Let a node's runner report something; the status of the answer."""
        answer = await self.api.client.post(
            "http://api/v1/node/events",
            json={"event": event, **details},
            headers={"Authorization": f"Bearer {self.fake.specs[name].token}"},
        )
        return answer.status_code


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        yield world


@asynccontextmanager
async def fake_world(
    tmp_path: Path, postgres_url: str, broker_url: str, *, gpus: int, **settings: Any
) -> AsyncIterator[World]:
    """An installation on a fake provider with so many GPUs, and a database of its own."""
    fake = FakeProvider(capacity=Capacity(cores=1e6, memory_bytes=2**60, gpus=gpus))

    def reconcilers(app: Any) -> list[Any]:
        context = WorkerContext(
            settings=app.state.settings,
            database=app.state.database,
            objects=app.state.objects,
            signals=Signals(),
            signer=app.state.signer,
            provider=fake,
            tracing=app.state.tracing,
        )
        return [PlanningReconciler(context), RunReconciler(context)]

    async with (
        own_database(postgres_url) as url,
        live_api(tmp_path, url, broker_url, reconcilers=reconcilers, **settings) as api,
    ):
        yield World(api, fake)


def codes(run: dict[str, Any]) -> list[str]:
    return [blocker["code"] for blocker in run["blockers"]]


def is_running(run: dict[str, Any]) -> bool:
    return bool(run["status"] == "Running")


async def started(world: World, run_id: str, attempt: int = 1, **values: Any) -> str:
    """Let the run's only node start; its name."""
    name = f"tw-{run_id}-a{attempt}-n0"
    await world.until(run_id, lambda _: name in world.fake.specs)
    for event in ("ready", "started"):
        assert await world.say(name, event) == 200
    await world.until(run_id, is_running)
    return name


@pytest.mark.fault(29)
async def test_a_run_that_waits_for_an_absent_provider_says_so_and_then_starts(
    world: World,
) -> None:
    world.fake.faults.add(Fault(Verb.CAPACITY, error=_AWAY, times=None))
    run_id = await world.submit()

    run = await world.until(run_id, lambda run: "provider_unavailable" in codes(run))

    assert run["status"] == "Queued"
    assert run["blockers"][0]["detail"] == str(_AWAY)
    cluster = (await world.api.client.get(f"clusters/{run['cluster_name']}")).json()
    assert cluster["errors"] == [{"code": "provider_unavailable", "message": str(_AWAY)}]
    world.fake.faults.clear()
    await started(world, run_id)
    cluster = (await world.api.client.get(f"clusters/{run['cluster_name']}")).json()
    assert cluster["errors"] == []


async def test_a_start_that_the_provider_refuses_now_is_tried_again(world: World) -> None:
    world.fake.faults.add(Fault(Verb.ENSURE, error=_AWAY, times=None))
    run_id = await world.submit()

    await world.until(run_id, lambda run: "provider_unavailable" in codes(run))
    world.fake.faults.clear()

    await started(world, run_id)


@pytest.mark.fault(31)
async def test_a_start_whose_answer_is_lost_gives_one_node(world: World) -> None:
    fault = Fault(Verb.ENSURE, error=ProviderError("no answer"), is_carried_out=True)
    world.fake.faults.add(fault)
    run_id = await world.submit()

    await started(world, run_id)

    assert [name for name in world.fake.specs if run_id in name] == [f"tw-{run_id}-a1-n0"]


async def test_a_node_that_can_never_start_fails_the_run_with_the_providers_words(
    world: World,
) -> None:
    words = "The container cannot be started: could not select device driver"
    world.fake.faults.add(Fault(Verb.ENSURE, error=NodeRefused(words), node="*-n1"))
    run_id = await world.submit(node_count=2)

    run = await world.until(run_id, lambda run: run["status"] == "Failed")

    assert run["error"]["code"] == "node_start_failed"
    assert run["error"]["message"] == words
    assert run["attempt"] == 1

    async def is_clean() -> bool:
        return not any(run_id in name for name in world.fake.specs)

    await until(is_clean)


async def test_a_running_run_says_that_its_provider_is_away_and_goes_on(world: World) -> None:
    run_id = await world.submit()
    name = await started(world, run_id)
    world.fake.faults.add(Fault(Verb.IS_ALIVE, error=_AWAY, times=None))

    run = await world.until(run_id, lambda run: codes(run) == ["provider_unavailable"])

    assert run["status"] == "Running"
    world.fake.faults.clear()
    await world.until(run_id, lambda run: codes(run) == [])
    assert await world.say(name, "exited", processes=[{"exit_code": 0}]) == 200
    assert await world.say(name, "finished") == 200
    await world.until(run_id, lambda run: run["status"] == "Completed")


async def test_a_run_cannot_end_while_its_nodes_cannot_be_removed_and_says_so(
    world: World,
) -> None:
    run_id = await world.submit()
    name = await started(world, run_id)
    world.fake.faults.add(Fault(Verb.REMOVE, error=_AWAY, times=None))
    await world.say(name, "exited", processes=[{"exit_code": 0}])
    await world.say(name, "finished")

    run = await world.until(run_id, lambda run: codes(run) == ["provider_unavailable"])

    assert run["status"] == "Finalizing"
    world.fake.faults.clear()
    await world.until(run_id, lambda run: run["status"] == "Completed")


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_worker_that_died_after_it_had_removed_the_nodes_is_succeeded(
    world: World, is_lost: bool
) -> None:
    run_id = await world.submit()
    name = await started(world, run_id)
    world.fake.faults.add(Fault(Verb.REMOVE, error=_AWAY, times=None))
    if is_lost:
        world.fake.lose(name)
    else:
        await world.say(name, "exited", processes=[{"exit_code": 0}])
        await world.say(name, "finished")
    await world.until(run_id, lambda run: codes(run) == ["provider_unavailable"])

    async with world.api.database.session() as session:
        await session.execute(update(RunNode).where(RunNode.name == name).values(removed=True))

    if is_lost:
        await world.until(run_id, lambda run: run["attempt"] == 2)
    else:
        await world.until(run_id, lambda run: run["status"] == "Completed")


@pytest.mark.fault(41)
async def test_a_lost_node_begins_another_attempt(world: World) -> None:
    run_id = await world.submit()
    name = await started(world, run_id)

    token = world.fake.specs[name].token
    world.fake.lose(name)

    await started(world, run_id, attempt=2)
    late = await world.api.client.post(
        "http://api/v1/node/heartbeat", json={}, headers={"Authorization": f"Bearer {token}"}
    )
    assert late.status_code == 410


async def test_no_two_nodes_share_a_gpu(tmp_path: Path, postgres_url: str, broker_url: str) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=3) as world:
        runs = await asyncio.gather(*(world.submit(vm_size="STANDARD_NC6") for _ in range(4)))

        def given() -> list[str]:
            specs = [s for n, s in world.fake.specs.items() if any(run in n for run in runs)]
            assert all(len(spec.gpu_ids) == spec.gpus == 1 for spec in specs)
            return [gpu for spec in specs for gpu in spec.gpu_ids]

        async def are_all_given() -> bool:
            return len(given()) == 3

        await until(are_all_given)

        assert sorted(given()) == ["0", "1", "2"]
        waiting = [run for run in runs if not any(run in name for name in world.fake.specs)]
        await world.until(waiting[0], lambda run: codes(run) == ["no_capacity_now"])


@pytest.mark.parametrize(
    ("wanted", "given_bytes"),
    [({}, 2 * 1024**3), ({"shm_size": "256m"}, 256 * 1024**2), ({"shm_size": "8G"}, 8 * 1024**3)],
)
async def test_shared_memory_is_as_asked_for(
    world: World, wanted: dict[str, str], given_bytes: int
) -> None:
    run_id = await world.submit(**wanted)

    name = await started(world, run_id)

    assert world.fake.specs[name].shared_memory_bytes == given_bytes


async def test_a_canceled_node_is_left_to_deliver_what_it_has(world: World) -> None:
    run_id = await world.submit()
    name = await started(world, run_id)
    # Carried out, it would end the node at once: this one has heard, and goes on delivering.
    world.fake.faults.add(Fault(Verb.STOP, error=HostLost("no answer"), times=None))
    await world.api.client.post(f"runs/{run_id}/cancel")
    await until_called(world, Verb.STOP, 1)
    assert await keeps_checkpoint_after(world, name, is_stopped=True) is False
    await until_looked_at(world, run_id, 1)  # whoever had not heard of it yet is done
    stops = world.fake.faults.calls[Verb.STOP]
    await age(world, run_id, seconds=100)  # scripts would not have had so long

    await until_looked_at(world, run_id, 3)

    assert (await world.run(run_id))["status"] == "CancelRequested"
    assert world.fake.faults.calls[Verb.STOP] == stops, "another signal might hurry it"
    await age(world, run_id, seconds=400)
    await world.until(run_id, lambda run: run["status"] == "Canceled")


async def test_a_node_that_has_to_leave_is_asked_for_its_last_checkpoint(world: World) -> None:
    run_id = await world.submit()
    name = await started(world, run_id)
    async with world.api.database.session() as session:
        await interruptions.evict(session, run_id=run_id, host=LOCAL, because="It is drained.")

    assert await keeps_checkpoint_after(world, name, is_stopped=True) is True

    assert await world.say(name, "finished") == 200
    await world.until(run_id, lambda run: run["attempt"] == 2)


@pytest.mark.parametrize(
    ("values", "is_stopped", "keeps"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"max_attempts": 1}, True, False),
        ({"max_attempts": 2, "retry_on": ["process_failed"]}, False, True),
        ({"max_attempts": 1, "retry_on": ["process_failed"]}, False, False),
    ],
)
async def test_a_last_checkpoint_is_kept_where_another_attempt_may_follow(
    world: World, values: dict[str, Any], is_stopped: bool, keeps: bool
) -> None:
    run_id = await world.submit(**values)
    name = await started(world, run_id)
    assert await keeps_checkpoint_after(world, name, is_stopped=is_stopped) is keeps


async def keeps_checkpoint_after(world: World, name: str, *, is_stopped: bool) -> bool:
    """Let the node say that its process ended badly; whether it is to keep a last checkpoint."""
    process = {
        "rank": 0, "role": "worker", "index": 0, "exit_code": 1, "signal": None,
        "stopped": is_stopped,
    }  # fmt: skip
    reason = "stopped" if is_stopped else None
    answer = await world.api.client.post(
        "http://api/v1/node/events",
        json={"event": "exited", "processes": [process], "reason": reason},
        headers={"Authorization": f"Bearer {world.fake.specs[name].token}"},
    )
    assert answer.status_code == 200, answer.text
    keeps: bool = answer.json()["keeps_checkpoint"]
    return keeps


async def until_looked_at(world: World, run_id: str, times: int) -> None:
    """Wait until the run has been looked at so often from now on."""
    planned: set[Any] = set()

    async def is_so() -> bool:
        async with world.api.database.session() as session:
            planned.add((await session.get_one(Run, run_id)).next_check_at)
        return len(planned) > times

    await until(is_so)


async def until_called(world: World, verb: Verb, times: int) -> None:
    """Wait until the provider was asked so often from now on."""
    before = world.fake.faults.calls[verb]

    async def is_so() -> bool:
        return world.fake.faults.calls[verb] >= before + times

    await until(is_so)


async def age(world: World, run_id: str, *, seconds: float) -> None:
    """Let what has happened to the run be so much longer ago."""
    async with world.api.database.session() as session:
        past = RunEvent.created_at - timedelta(seconds=seconds)
        await session.execute(
            update(RunEvent).where(RunEvent.run_id == run_id).values(created_at=past)
        )
