"""What deployments say and do when the provider of nodes fails them."""

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update

from app.deployments import decide
from app.kernel.clock import utc_now
from app.kernel.signals import Signals
from app.kernel.wake import wake
from app.providers.base import LOCAL, Capacity, NodeRefused, ProviderError
from app.providers.fake.faults import Fault, Verb
from app.providers.fake.provider import FakeProvider
from app.tables.deployment import Deployment, Replica
from app.tables.image import Image
from app.tables.model import Model, ModelSample, ModelVersion
from app.tables.workspace import Workspace
from tests.live_api import LiveApi, live_api
from tests.waiting import until
from workers.context import WorkerContext
from workers.reconcile_deployment import DeploymentReconciler

pytestmark = pytest.mark.anyio
_GIB = 1024**3
_AWAY = ProviderError("the engine is away")


@dataclass
class World:
    """One deployment whose replica is an entry in the memory of a fake provider."""

    api: LiveApi
    fake: FakeProvider
    deployment_id: str = ""

    async def deploy(self) -> None:
        name = f"d-{uuid.uuid4().hex[:16]}"
        async with self.api.database.session() as session:
            found = select(Workspace.id).where(Workspace.name == self.api.workspace)
            workspace_id = (await session.scalars(found)).one()
            session.add(Image(id=name, spec={}, state="Ready", python=sys.executable))
            session.add(Model(id=name, workspace_id=workspace_id, name=name))
            await session.flush()
            version = ModelVersion(
                id=f"{name}-1", model_id=name, version=1, framework="TensorFlow",
                kind="saved_model", size_bytes=1,
                files=[{"path": "saved_model.pb", "sha256": "0" * 64, "size_bytes": 1}],
                created_by="test",
            )  # fmt: skip
            session.add(version)
            await session.flush()
            row = Deployment(
                id=name, workspace_id=workspace_id, name=name, model_version_id=version.id,
                image_id=name, replica_count=1,
                resource_configuration={"cpu": 0.5, "memory_gb": 1.5, "gpu": 0},
            )  # fmt: skip
            session.add(row)
        self.deployment_id = name

    async def replica(self, start: int = 1) -> str:
        """The name of the replica once it was started for this time."""
        name = f"tw-{self.deployment_id}-g1-r0-{start}"

        async def is_there() -> bool:
            return name in self.fake.specs

        await until(is_there)
        return name

    async def serve(self, name: str) -> None:
        """Let the replica report that it serves, as soon as it may."""
        answer = await self.api.client.post(
            "http://api/v1/node/events",
            json={"event": "serving", "port": 1234},
            headers={"Authorization": f"Bearer {self.fake.specs[name].token}"},
        )
        assert answer.status_code == 200, answer.text
        await self.until(lambda shown: shown["state"] == "Healthy")

    async def until(self, what: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        async def is_so() -> bool:
            seen.update((await self.api.client.get(f"deployments/{self.deployment_id}")).json())
            return bool(what(seen))

        await until(is_so, seconds=60)
        return seen


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    fake = FakeProvider(capacity=Capacity(cores=64.0, memory_bytes=2**40, gpus=0))

    def reconcilers(app: Any) -> list[Any]:
        context = WorkerContext(
            settings=app.state.settings,
            database=app.state.database,
            objects=app.state.objects,
            signals=Signals(),
            signer=app.state.signer,
            provider=fake,
        )
        return [DeploymentReconciler(context)]

    async with live_api(tmp_path, postgres_url, broker_url, reconcilers=reconcilers) as api:
        world = World(api, fake)
        await world.deploy()
        yield world
        # Others' reconcilers would find them in the database that tests share.
        async with api.database.session() as session:
            own = select(Workspace.id).where(Workspace.name == api.workspace).scalar_subquery()
            await session.execute(delete(Deployment).where(Deployment.workspace_id == own))


def has_error(code: str) -> Callable[[dict[str, Any]], bool]:
    return lambda shown: (shown["error"] or {}).get("code") == code


async def test_a_replica_is_limited_to_what_the_model_asks_for(world: World) -> None:
    spec = world.fake.specs[await world.replica()]

    assert (spec.cores, spec.memory_bytes, spec.gpus) == (0.5, int(1.5 * _GIB), 0)


async def test_a_replica_is_told_the_stored_sample(world: World) -> None:
    token = world.fake.specs[await world.replica()].token

    async def order() -> Any:
        answer = await world.api.client.get(
            "http://api/v1/node/order", headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert (await order())["texts"] == {}
    async with world.api.database.session() as session:
        version = f"{world.deployment_id}-1"
        row = ModelSample(
            id=version, model_version_id=version, captured_at=utc_now(),
            inputs={"x": [1.0]}, outputs={"y": [2.0]},
        )  # fmt: skip
        session.add(row)

    found = await order()

    assert json.loads(found["texts"]["sample.json"]) == {
        "inputs": {"x": [1.0]}, "outputs": {"y": [2.0]},
        "relative_tolerance": 0.001, "absolute_tolerance": 0.00001,
    }  # fmt: skip
    assert found["processes"][0]["argv"][-2:] == ["--sample-file", "sample.json"]


async def test_a_replica_that_is_removed_by_hand_is_replaced(world: World) -> None:
    first = await world.replica()
    await world.serve(first)

    world.fake.lose(first)

    second = await world.replica(start=2)
    await world.serve(second)
    assert list(world.fake.specs) == [second]


async def test_of_replicas_that_were_replaced_the_last_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.reconcile_deployment.KEPT_STARTS", 2)
    monkeypatch.setattr(decide, "FIRST_PAUSE_SECONDS", 0.01)
    for start in range(1, 5):
        name = await world.replica(start=start)
        world.fake.lose(name)
        async with world.api.database.session() as session:
            await wake(session, Deployment, world.deployment_id)
    await world.replica(start=5)

    async def are_few() -> bool:
        async with world.api.database.session() as session:
            kept = select(Replica.start).where(Replica.deployment_id == world.deployment_id)
            starts = sorted((await session.scalars(kept)).all())
            # The last may be made after the one before it was taken away.
            return starts in ([3, 4, 5], [4, 5])

    await until(are_few)


async def test_a_provider_that_is_away_is_said_and_waited_for(world: World) -> None:
    await world.serve(await world.replica())
    world.fake.faults.add(Fault(Verb.IS_ALIVE, error=_AWAY, times=None))

    shown = await world.until(has_error("provider_unavailable"))

    assert shown["state"] == "Healthy"
    assert shown["error"]["message"] == str(_AWAY)
    world.fake.faults.clear()
    await world.until(lambda shown: shown["error"] is None and shown["state"] == "Healthy")
    assert len(world.fake.specs) == 1


async def test_a_replica_that_can_never_start_is_given_up_with_the_providers_words(
    world: World,
) -> None:
    await world.replica()
    words = "could not select device driver"
    world.fake.faults.add(Fault(Verb.ENSURE, error=NodeRefused(words), times=None))
    world.fake.lose(await world.replica())

    shown = await world.until(has_error("node_start_failed"))

    assert words in shown["error"]["message"]


async def test_a_replica_that_ends_again_and_again_is_given_up_with_its_last_lines(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "FIRST_PAUSE_SECONDS", 0.01)
    ended = {"stream": "user_logs/std_log.txt", "exit_code": 1, "signal": None, "oom": False,
             "last_lines": ["loading", "no such file"]}  # fmt: skip

    for start in range(1, decide.MAX_FAILURES + 1):
        name = await world.replica(start=start)
        answer = await world.api.client.post(
            "http://api/v1/node/events",
            json={"event": "exited", "reason": "exited", "processes": [ended]},
            headers={"Authorization": f"Bearer {world.fake.specs[name].token}"},
        )
        assert answer.status_code == 200, answer.text

    shown = await world.until(lambda shown: shown["state"] == "Failed")
    assert shown["error"]["last_lines"] == ["loading", "no such file"]
    assert "Last line: no such file" in shown["error"]["message"]


async def test_what_replicas_print_is_asked_for_as_lines(world: World) -> None:
    name = await world.replica()
    sent = await world.api.client.post(
        "http://api/v1/node/logs",
        params={"stream": "user_logs/std_log.txt", "offset": 0},
        content=b"one\ntwo loss=3\nthree\n",
        headers={
            "Authorization": f"Bearer {world.fake.specs[name].token}",
            "Log-Times": "0@1760000000000 4@1760000001000 15@1760000002000",
        },
    )
    assert sent.status_code == 200, sent.text
    log = f"deployments/{world.deployment_id}/logs"

    async def lines(**params: Any) -> list[str]:
        answer = await world.api.client.get(log, params=params)
        assert answer.status_code == 200, answer.text
        return answer.text.splitlines()

    assert await lines() == ["one", "two loss=3", "three"]
    assert await lines(tail=2) == ["two loss=3", "three"]
    assert await lines(grep="loss=.") == ["two loss=3"]
    assert await lines(since="2025-10-09T08:53:22Z") == ["three"]
    assert await lines(until="2025-10-09T08:53:20Z") == ["one"]
    records = await world.api.client.get(log, headers={"Accept": "application/x-ndjson"})
    assert '"text":"one"' in records.text.splitlines()[0]
    last = json.loads(records.text.splitlines()[1])["id"]
    assert await lines(after=last) == ["three"]
    refused = await world.api.client.get(log, params={"tail": 1, "offset": 1})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


async def test_a_replica_that_serves_before_its_address_is_written_gets_it(world: World) -> None:
    await world.serve(await world.replica())
    async with world.api.database.session() as session:
        named = update(Replica).where(Replica.deployment_id == world.deployment_id)
        await session.execute(named.values(address=None))
        await wake(session, Deployment, world.deployment_id)

    async def has_address() -> bool:
        async with world.api.database.session() as session:
            found = select(Replica.address).where(Replica.deployment_id == world.deployment_id)
            return (await session.scalars(found)).one() is not None

    await until(has_address)


async def test_a_report_and_the_reconciler_do_not_wait_for_each_other(world: World) -> None:
    name = await world.replica()
    async with world.api.database.session() as session:
        held = select(Deployment.id).where(Deployment.id == world.deployment_id)
        await session.execute(held.with_for_update(key_share=True))
        report = asyncio.create_task(world.serve(name))

        async def waits() -> bool:
            blocked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool((await session.execute(blocked)).scalar_one())

        await until(waits)
        await session.execute(text("SET LOCAL lock_timeout = '2s'"))
        await session.execute(
            update(Replica).where(Replica.name == name).values(address="127.0.0.1")
        )
    await report


async def test_nobody_who_changes_a_deployment_waits_for_the_engine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await world.replica()
    await world.serve(first)
    asked: list[str] = []
    is_alive = world.fake.is_alive

    async def is_alive_and_nothing_is_locked(name: str, *, host: str = LOCAL) -> bool:
        async with world.api.database.session() as session:
            await session.execute(text("SET LOCAL lock_timeout = '2s'"))
            locked = select(Deployment.id).where(Deployment.id == world.deployment_id)
            await session.execute(locked.with_for_update())
        asked.append(name)
        return await is_alive(name, host=host)

    monkeypatch.setattr(world.fake, "is_alive", is_alive_and_nothing_is_locked)
    world.fake.lose(first)

    await world.serve(await world.replica(start=2))

    assert first in asked
    await world.until(lambda shown: shown["error"] is None)


@pytest.mark.fault(10)
async def test_a_deployment_that_cannot_be_looked_at_says_so_and_others_go_on(
    world: World,
) -> None:
    await world.serve(await world.replica())
    other = World(world.api, world.fake)
    await other.deploy()
    await other.serve(await other.replica())
    odd = update(Replica).where(Replica.deployment_id == world.deployment_id)
    async with world.api.database.session() as session:
        await session.execute(odd.values(state="Exited", result=text("'5'")))
        await wake(session, Deployment, world.deployment_id)

    shown = await world.until(has_error("reconcile_failed"))

    assert "AttributeError" in shown["error"]["message"]
    world.fake.lose(await other.replica())
    await other.serve(await other.replica(start=2))
    async with world.api.database.session() as session:
        await session.execute(odd.values(result={"ended_at": 0}))
    await world.serve(await world.replica(start=2))
    await world.until(lambda shown: shown["error"] is None)
