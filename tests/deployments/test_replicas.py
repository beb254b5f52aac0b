"""Replicas under load: rolling updates, kills, scaling, traffic; nothing asked is lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.deployments import decide, scoring
from app.kernel.wake import wake
from app.tables.deployment import Deployment, DeploymentLoad, Replica
from tests.deployments.nodes import Nodes, answering_nodes
from tests.deployments.test_faults import World, world
from tests.waiting import until
from workers.node_door import NodeDoor

__all__ = ["world"]
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
BODY = {"instances": [[1.0]]}


@pytest.fixture
async def nodes(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodes]:
    monkeypatch.setattr(decide, "DRAIN_SECONDS", 0.5)
    async with answering_nodes(world.api, world.fake) as nodes:
        await world.until(lambda shown: shown["state"] == "Healthy")
        yield nodes


async def change(world: World, **values: Any) -> None:
    async with world.api.database.session() as session:
        named = update(Deployment).where(Deployment.id == world.deployment_id)
        await session.execute(named.values(**values))
        await wake(session, Deployment, world.deployment_id)


@asynccontextmanager
async def load(world: World, *, clients: int = 4) -> AsyncIterator[Counter[str]]:
    """Ask without a pause for the block; yields how often each answer came."""
    answers: Counter[str] = Counter()
    is_over = asyncio.Event()

    async def ask() -> None:
        while not is_over.is_set():
            answer = await score(world)
            found = answer.json()
            answers[found["predictions"][0] if answer.is_success else f"failed {found}"] += 1

    tasks = [asyncio.create_task(ask()) for _ in range(clients)]
    try:
        yield answers
    finally:
        is_over.set()
        await asyncio.gather(*tasks)


async def score(world: World, name: str = "") -> Any:
    path = f"deployments/{name or world.deployment_id}/score"
    return await world.api.client.post(path, json=BODY)


def failures(answers: Counter[str]) -> list[str]:
    return [answer for answer in answers if answer.startswith("failed")]


async def test_a_rolling_update_under_load_fails_no_request(world: World, nodes: Nodes) -> None:
    await change(world, replica_count=2)
    await world.until(lambda shown: shown["ready_replicas"] == 2)
    nodes.seconds = 0.02

    async with load(world) as answers:
        await change(world, generation=2, state="Transitioning")
        await world.until(lambda shown: shown["ready_replicas"] == 2)
        await world.until(lambda shown: len(shown["replica_states"]) == 2)

    assert failures(answers) == []
    generations = {name.rsplit("-", 3)[1] for name in answers}
    assert generations == {"g1", "g2"}
    assert all("-g2-" in name for name in world.fake.specs)


async def test_a_replica_killed_under_load_fails_no_request_and_is_replaced(
    world: World, nodes: Nodes
) -> None:
    await change(world, replica_count=2)
    await world.until(lambda shown: shown["ready_replicas"] == 2)
    nodes.seconds = 0.02
    victim = await world.replica()

    async with load(world) as answers:
        await asyncio.sleep(0.3)
        await nodes.kill(victim)
        world.fake.lose(victim)
        await change(world)
        await world.replica(start=2)
        await world.until(lambda shown: shown["ready_replicas"] == 2)

    assert failures(answers) == []
    assert len(answers) >= 2


async def test_the_only_replica_killed_under_load_makes_requests_wait(
    world: World, nodes: Nodes
) -> None:
    victim = await world.replica()

    async with load(world, clients=3) as answers:
        await nodes.kill(victim)
        world.fake.lose(victim)
        await change(world)
        await world.replica(start=2)
        await world.until(lambda shown: shown["ready_replicas"] == 1)

    assert failures(answers) == []


async def test_replicas_follow_the_load_down_to_none_and_up_again(
    world: World, nodes: Nodes
) -> None:
    rule = {"min_replicas": 0, "max_replicas": 3, "target_concurrency": 1.0, "idle_seconds": 1.0}
    patient = {**rule, "idle_seconds": 600.0}
    await change(world, autoscale=rule)

    await world.until(lambda shown: shown["replicas"] == 0 and not shown["replica_states"])
    assert world.fake.specs == {}
    first = await score(world)
    assert first.status_code == 200, first.text
    await change(world, autoscale=patient)
    nodes.seconds = 0.2
    async with load(world, clients=6) as answers:
        shown = await world.until(lambda shown: shown["ready_replicas"] == 3)
    assert shown["state"] == "Healthy"
    assert failures(answers) == []
    await change(world, autoscale=rule)
    await world.until(lambda shown: shown["replicas"] == 0)


async def test_loads_that_routers_of_old_noted_are_forgotten(world: World, nodes: Nodes) -> None:
    async with world.api.database.session() as session:
        old = func.clock_timestamp() - timedelta(seconds=70)
        for router_id, noted_at in (("old", old), ("new", func.clock_timestamp())):
            session.add(
                DeploymentLoad(
                    deployment_id=world.deployment_id, router_id=router_id,
                    concurrency=1.0, noted_at=noted_at,
                )
            )  # fmt: skip
    await change(world, autoscale={"min_replicas": 1, "max_replicas": 3})

    async def is_forgotten() -> bool:
        async with world.api.database.session() as session:
            kept = select(DeploymentLoad.router_id).where(
                DeploymentLoad.deployment_id == world.deployment_id
            )
            return list((await session.scalars(kept)).all()) == ["new"]

    await until(is_forgotten)


async def test_what_a_header_holds_besides_ascii_fails_no_request(
    world: World, nodes: Nodes
) -> None:
    path = f"deployments/{world.deployment_id}/score"
    headers = {b"Traceparent": "\u00b2".encode("latin-1")}
    answer = await world.api.client.post(path, json=BODY, headers=headers)
    assert answer.status_code == 200, answer.text


async def test_traffic_goes_to_another_deployment_and_back(world: World, nodes: Nodes) -> None:
    blue = world.deployment_id
    await world.deploy()
    green = world.deployment_id
    await world.until(lambda shown: shown["state"] == "Healthy")
    traffic = f"deployments/{blue}/traffic"

    async def put(body: Any) -> Any:
        return await world.api.client.put(traffic, json=body, headers={"If-Match": "*"})

    assert (await put({"shares": {green: 100}})).json()["shares"] == {green: 100.0}
    switched = await score(world, blue)
    assert green in switched.json()["predictions"][0]
    assert switched.headers["served-by"].startswith(f"{green}/")
    assert (await world.api.client.delete(f"deployments/{green}")).json()["code"] == "takes_traffic"
    assert (await put({"shares": {green: 30}})).is_success
    answers = [(await score(world, blue)).headers["served-by"] for _ in range(60)]
    share = sum(answer.startswith(green) for answer in answers)
    assert 3 <= share <= 40

    unread = await world.api.client.put(traffic, json={})
    assert (unread.status_code, unread.json()["code"]) == (428, "precondition_required")
    assert (await put({"shadow": {green: 100}})).is_success
    before = sum(count for name, count in nodes.requests.items() if green in name)
    answer = await score(world, blue)
    assert blue in answer.json()["predictions"][0]

    async def is_copied() -> bool:
        return sum(n for name, n in nodes.requests.items() if green in name) == before + 1

    await until(is_copied)
    for wrong in ({"shares": {"nobody": 5}}, {"shares": {blue: 5}}):
        assert (await put(wrong)).json()["code"] == "invalid"
    assert (await put({"shares": {green: 60, blue: 60}})).status_code == 422
    figures = (await world.api.client.get("http://api/metrics")).text
    assert f'deployment="{green}"' in figures
    assert 'role="shadow",status="200"' in figures
    assert (await put({})).json() == {"shares": {}, "shadow": {}}


async def test_a_body_over_the_limit_is_refused_by_the_router(world: World, nodes: Nodes) -> None:
    await change(world, limits={"max_body_bytes": 4})

    answer = await score(world)

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_replica_that_gives_no_answer_is_waited_for_only_so_long(
    world: World, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_GRACE_SECONDS", 0.1)
    await change(world, limits={"timeout_seconds": 0.1})
    nodes.seconds = 60.0

    answer = await score(world)

    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["retryable"] is True


async def test_a_node_that_hangs_as_a_whole_is_replaced(
    world: World, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = await world.replica()

    async def open_seconds(door: NodeDoor) -> float:
        return 60.0

    monkeypatch.setattr(NodeDoor, "open_seconds", open_seconds)
    nodes.seconds = 60.0
    waits = asyncio.create_task(score(world))
    await until_asked(nodes, silent)
    nodes.seconds = 0.0
    async with world.api.database.session() as session:
        long_ago = func.clock_timestamp() - timedelta(seconds=31)
        named = update(Replica).where(Replica.name == silent)
        await session.execute(named.values(heartbeat_at=long_ago))
    await change(world)

    second = await world.replica(start=2)
    answer = await waits
    assert answer.json()["predictions"] == [second]
    assert silent not in world.fake.specs


async def until_asked(nodes: Nodes, name: str) -> None:
    async def is_asked() -> bool:
        return nodes.asked[name] > 0

    await until(is_asked)


async def test_requests_beyond_the_queue_are_told_to_come_later(world: World, nodes: Nodes) -> None:
    await change(world, limits={"max_waiting": 1})
    victim = await world.replica()
    await nodes.kill(victim)

    waiting = [asyncio.create_task(score(world)) for _ in range(3)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    refused = done.pop().result()
    assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
    assert refused.headers["retry-after"] == "1"
    world.fake.lose(victim)
    await change(world)
    await asyncio.gather(*waiting)


async def test_a_rollback_is_a_change_to_what_was_healthy_before(
    world: World, nodes: Nodes
) -> None:
    path = f"deployments/{world.deployment_id}"
    model = (await world.api.client.get(path)).json()["model_name"]
    body = {"model_name": model, "limits": {"max_waiting": 7}}

    changed = await world.api.client.put(path, json=body)
    assert changed.status_code == 200, changed.text
    back = await world.api.client.post(f"{path}/rollback")

    assert back.status_code == 200, back.text
    assert changed.json()["limits"]["max_waiting"] == 7
    assert back.json()["limits"]["max_waiting"] == 256
    assert (changed.json()["generation"], back.json()["generation"]) == (2, 3)


async def test_without_something_before_there_is_nothing_to_roll_back(
    world: World, nodes: Nodes
) -> None:
    answer = await world.api.client.post(f"deployments/{world.deployment_id}/rollback")

    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_before")
