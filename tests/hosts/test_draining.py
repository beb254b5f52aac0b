"""Hosts as administrators want them: registered, limited, drained."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.providers.base import LOCAL, Capacity, Host
from tests.runs.test_faults import World, codes, fake_world
from tests.waiting import until
from workers.watch_hosts import HostWatcher

pytestmark = pytest.mark.anyio
_SIZE = Capacity(cores=8.0, memory_bytes=2**40, gpus=0)
_HOSTS = "http://api/v1/hosts"


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0, node_overcommit=1.0) as world:
        world.fake.machines = [Host("alpha", _SIZE), Host("beta", _SIZE)]
        await HostWatcher(world.api.database, world.fake).look()
        yield world


async def host(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = (await world.api.client.get(f"{_HOSTS}/{name}")).json()
    return found


async def post(world: World, path: str, **body: Any) -> httpx2.Response:
    answer = await world.api.client.post(f"{_HOSTS}/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer


async def on_beta(world: World, **values: Any) -> tuple[str, str]:
    """A run whose node has started on beta; its name and the node's."""
    await post(world, "alpha/drain")
    run_id = await world.submit(**values)
    name = f"tw-{run_id}-a1-n0"
    await world.until(run_id, lambda _: name in world.fake.specs)
    assert world.fake.specs[name].host == "beta"
    for event in ("ready", "started"):
        assert await world.say(name, event) == 200
    await world.until(run_id, lambda run: run["status"] == "Running")
    await post(world, "alpha/undrain")
    return run_id, name


async def stop(world: World, name: str) -> None:
    """Let a node's runner say that it was told to end."""
    stopped = [{"exit_code": None, "signal": "SIGTERM", "stopped": True}]
    await world.say(name, "exited", processes=stopped, reason="stopped")
    await world.say(name, "finished")


async def moved(world: World, run_id: str, name: str) -> str:
    """Wait until a run is told to leave beta, let it end, and wait for its next node's name."""

    async def is_told() -> bool:
        items = (await world.api.client.get(f"runs/{run_id}/events")).json()["items"]
        return [e["data"]["host"] for e in items if e["type"] == "evicted"] == ["beta"]

    await until(is_told)
    await stop(world, name)
    again = f"tw-{run_id}-a2-n0"
    await world.until(run_id, lambda _: again in world.fake.specs)
    return again


async def test_a_drained_host_is_emptied_and_what_runs_there_ends_there(world: World) -> None:
    run_id, name = await on_beta(world)

    shown = (await post(world, "beta/drain", reason="new disks")).json()
    assert (shown["state"], shown["detail"]) == ("draining", "new disks")
    assert shown["draining_since"]
    assert shown["drain_by"] is None
    second = await world.submit()
    await world.until(second, lambda _: f"tw-{second}-a1-n0" in world.fake.specs)
    assert world.fake.specs[f"tw-{second}-a1-n0"].host == "alpha"
    assert (await world.run(run_id))["attempt"] == 1

    await world.say(name, "exited", processes=[{"exit_code": 0}], reason="exited")
    await world.say(name, "finished")
    await world.until(run_id, lambda run: run["status"] == "Completed")

    async def is_drained() -> bool:
        return bool((await host(world, "beta"))["state"] == "drained")

    await until(is_drained)
    assert (await post(world, "beta/undrain")).json()["state"] == "ready"


async def test_at_the_deadline_what_is_left_begins_again_elsewhere(world: World) -> None:
    run_id, name = await on_beta(world, max_attempts=1)

    await post(world, "beta/drain", deadline_seconds=1)
    again = await moved(world, run_id, name)

    assert world.fake.specs[again].host == "alpha"
    first = (await world.api.client.get(f"runs/{run_id}/attempts")).json()["items"][0]
    assert first["outcome"] == "Preempted"
    assert first["error"]["message"] == "Its host beta is being drained."
    assert (await world.run(run_id))["max_attempts"] == 2


async def test_low_priority_work_leaves_without_a_deadline(world: World) -> None:
    run_id, name = await on_beta(world)
    name_of_cluster = (await world.run(run_id))["cluster_name"]
    body = {"vm_size": "SMALL", "vm_priority": "lowpriority"}
    changed = await world.api.client.put(f"clusters/{name_of_cluster}", json=body)
    assert changed.status_code == 200

    await post(world, "beta/drain")

    again = await moved(world, run_id, name)
    assert world.fake.specs[again].host == "alpha"


async def test_no_more_of_a_host_is_handed_out_than_its_limit(world: World) -> None:
    for name in ("alpha", "beta"):
        put = await world.api.client.put(f"{_HOSTS}/{name}", json={"limits": {"cores": 0.5}})
        assert put.status_code == 200, put.text
        assert put.json()["limits"] == {"cores": 0.5, "memory_bytes": None, "gpus": None}
        assert put.json()["cores"] == 8.0
    run_id = await world.submit(node_count=2)
    # Nodes are cut down to what a host gives, so each host has room for one.
    await world.until(run_id, lambda _: f"tw-{run_id}-a1-n1" in world.fake.specs)
    assert {world.fake.specs[f"tw-{run_id}-a1-n{n}"].cores for n in (0, 1)} == {0.5}
    waiting = await world.submit()
    await world.until(waiting, lambda run: codes(run) == ["no_capacity_now"])

    assert (await world.api.client.put(f"{_HOSTS}/beta", json={})).status_code == 200
    await world.until(waiting, lambda _: f"tw-{waiting}-a1-n0" in world.fake.specs)


async def test_an_engine_is_registered_and_removed(world: World) -> None:
    client, gamma = world.api.client, f"{_HOSTS}/gamma"
    assert (await client.get(gamma)).json()["code"] == "host_not_found"
    assert (await client.put(gamma, json={})).json()["code"] == "host_not_found"
    made = await client.put(gamma, json={"engine_url": "tcp://10.0.0.3:2376"})
    assert made.status_code == 201, made.text
    assert made.headers["location"].endswith("/v1/hosts/gamma")
    assert (made.json()["state"], made.json()["provider"]) == ("unknown", "")
    assert [h["name"] for h in (await client.get(_HOSTS)).json()["items"]] == [
        "alpha",
        "beta",
        "gamma",
    ]

    changed = {"engine_url": "tcp://10.0.0.3:2376", "limits": {"gpus": 2}}
    first = {"If-Match": made.headers["etag"]}
    assert (await client.put(gamma, json=changed, headers=first)).status_code == 200
    stale = await client.put(gamma, json=changed, headers=first)
    assert stale.status_code == 412
    missing = await client.put(gamma, json={"limits": {}})
    assert (missing.status_code, missing.json()["errors"][0]["pointer"]) == (422, "/engine_url")

    assert (await client.delete(gamma)).json()["code"] == "host_busy"
    assert (await client.post(f"{gamma}/drain", json={})).status_code == 200
    assert (await client.delete(gamma)).status_code == 204
    assert (await client.delete(gamma)).status_code == 204
    assert (await client.get(gamma)).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("PUT", "alpha", {"engine_url": "tcp://10.0.0.1:2376"}, 409, "host_from_settings"),
        ("DELETE", "alpha", None, 409, "host_from_settings"),
        ("PUT", "gamma", {"engine_url": "http://10.0.0.1"}, 422, None),
        ("PUT", "gamma", {"engine_url": "tcp://10.0.0.1:70000"}, 422, None),
        ("PUT", "gamma", {"engine_url": "tcp://user:secret@10.0.0.1:2376"}, 422, None),
        ("PUT", "alpha", {"limits": {"gpus": -1}}, 422, None),
        ("PUT", "alpha", {"limits": {"disks": 1}}, 422, None),
        ("POST", "alpha/drain", {"deadline_seconds": -1}, 422, None),
        ("POST", "nowhere/drain", {}, 404, "host_not_found"),
        ("POST", "nowhere/undrain", None, 404, "host_not_found"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(
    world: World, method: str, path: str, body: Any, status: int, code: str | None
) -> None:
    before = (await world.api.client.get(_HOSTS)).json()
    answer = await world.api.client.request(method, f"{_HOSTS}/{path}", json=body)
    assert answer.status_code == status, answer.text
    if code is not None:
        assert answer.json()["code"] == code
    assert (await world.api.client.get(_HOSTS)).json() == before


async def test_without_a_swarm_no_engine_can_be_registered(world: World) -> None:
    world.fake.machines = [Host(LOCAL, _SIZE)]
    await HostWatcher(world.api.database, world.fake).look()
    body = {"engine_url": "tcp://10.0.0.3:2376"}
    answer = await world.api.client.put(f"{_HOSTS}/gamma", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "no_swarm")
