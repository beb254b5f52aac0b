"""Preemption, quotas and disabled clusters, as runs and administrators see them."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app.runs import waiting
from app.tables.cluster import Cluster
from tests.runs.test_faults import World, codes, fake_world, started

pytestmark = pytest.mark.anyio


async def low_priority(world: World, run_id: str) -> None:
    """Make the run's cluster one whose runs may be preempted."""
    name = (await world.run(run_id))["cluster_name"]
    body = {"vm_size": "STANDARD_NC6", "vm_priority": "lowpriority"}
    assert (await world.api.client.put(f"clusters/{name}", json=body)).status_code == 200


async def test_low_priority_work_gives_way_and_comes_back(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=1) as world:
        low = await world.submit(vm_size="STANDARD_NC6", max_attempts=1, priority=100)
        name = await started(world, low)
        await low_priority(world, low)

        high = await world.submit(vm_size="STANDARD_NC6", priority=100)
        waiting = await world.until(high, lambda run: codes(run) == ["preempting"])
        assert waiting["blockers"][0]["object"] in {f"run {low}", "low-priority runs"}
        stopped = [{"exit_code": None, "signal": "SIGTERM", "stopped": True}]
        await world.say(name, "exited", processes=stopped, reason="stopped")
        await world.say(name, "finished")
        await started(world, high)

        again = await world.until(low, lambda run: run["status"] == "Queued" and codes(run))
        assert again["max_attempts"] == 2
        attempts = (await world.api.client.get(f"runs/{low}/attempts")).json()["items"]
        assert attempts[0]["outcome"] == "Preempted"
        assert high in attempts[0]["error"]["message"]
        events = (await world.api.client.get(f"runs/{low}/events")).json()["items"]
        assert [e["data"]["for_run_id"] for e in events if e["type"] == "preempted"] == [high]


async def test_a_quota_holds_a_run_back_until_it_is_lifted(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        address = f"http://api/v1/quotas/workspace/{world.api.workspace}"
        made = await world.api.client.put(address, json={"nodes": 2})
        assert made.status_code == 201, made.text
        await started(world, await world.submit())
        large = await world.submit(node_count=2)
        run = await world.until(large, lambda run: codes(run) == ["quota"])
        assert run["blockers"][0]["object"] == "quota workspace.nodes"

        small = await world.submit()
        await started(world, small)
        assert (await world.api.client.delete(address)).status_code == 204

        await world.until(large, lambda _: f"tw-{large}-a1-n1" in world.fake.specs)
        assert (await world.api.client.get(address)).json()["code"] == "quota_not_found"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("workspace/there-is-none", {"nodes": 1}, 404),
        ("user/there-is-none", {"nodes": 1}, 404),
        ("team/x", {"nodes": 1}, 422),
        ("user/admin", {"nodes": -1}, 422),
        ("user/admin", {"share": 0}, 422),
        ("user/admin", {"nodse": 1}, 422),
    ],
)
async def test_a_quota_that_cannot_be_is_refused(
    tmp_path: Path,
    postgres_url: str,
    broker_url: str,
    path: str,
    body: dict[str, Any],
    status: int,
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        answer = await world.api.client.put(f"http://api/v1/quotas/{path}", json=body)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        listed = (await world.api.client.get("http://api/v1/quotas")).json()["items"]
        assert not [item for item in listed if item["kind"] == "user"]


async def test_a_disabled_cluster_starts_nothing(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        name = f"off-{uuid.uuid4().hex[:8]}"
        body = {"vm_size": "SMALL", "is_enabled": False}
        assert (await world.api.client.put(f"clusters/{name}", json=body)).status_code == 201
        run_id = await world.submit(cluster_name=name)
        run = await world.until(run_id, lambda run: codes(run) == ["cluster_disabled"])
        assert run["blockers"][0]["object"] == f"cluster {name}"

        on = await world.api.client.patch(f"clusters/{name}", json={"is_enabled": True})
        assert on.json()["is_enabled"] is True
        await started(world, run_id)


async def test_a_size_that_was_taken_away_stops_its_clusters_alone(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        name = f"gone-{uuid.uuid4().hex[:8]}"
        made = await world.api.client.put(f"clusters/{name}", json={"vm_size": "SMALL"})
        assert made.status_code == 201
        async with world.api.database.session() as session:
            await session.execute(
                update(Cluster).where(Cluster.name == name).values(vm_size="TAKEN_AWAY")
            )
        stopped = await world.submit(cluster_name=name)

        await world.until(stopped, lambda run: codes(run) == ["cluster_disabled"])
        await started(world, await world.submit())


def is_at(position: int) -> Callable[[dict[str, Any]], bool]:
    """Whether a run waits there."""
    return lambda run: bool(run["queue_position"] == position)


async def test_whoever_waits_far_behind_moves_up_too(
    tmp_path: Path, postgres_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that few runs are many: one is followed at once, and one of those behind it a plan.
    monkeypatch.setattr(waiting, "_FOLLOWED_FIRST", 1)
    monkeypatch.setattr(waiting, "_FOLLOWED_AFTER", 1)
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        name = f"long-{uuid.uuid4().hex[:8]}"
        body = {"vm_size": "SMALL", "is_enabled": False}
        assert (await world.api.client.put(f"clusters/{name}", json=body)).status_code == 201
        runs = [await world.submit(cluster_name=name) for _ in range(5)]
        for position, run_id in enumerate(runs, start=1):
            await world.until(run_id, is_at(position))

        assert (await world.api.client.post(f"runs/{runs[0]}/cancel")).status_code < 300

        for position, run_id in enumerate(runs[1:], start=1):
            await world.until(run_id, is_at(position))
            kinds = [
                event["type"]
                for event in (await world.api.client.get(f"runs/{run_id}/events")).json()["items"]
            ]
            assert kinds.count("blocked") == 1
