"""What nodes measure about themselves, through the API."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.runs.test_faults import World, fake_world, started

pytestmark = pytest.mark.anyio
BEGAN = 1_700_000_000.0


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        yield world


def sample(number: int, **values: float) -> dict[str, Any]:
    return {"number": number, "time": BEGAN + 10 * number, "values": values}


async def send(world: World, name: str, *samples: dict[str, Any]) -> int:
    answer = await world.api.client.post(
        "http://api/v1/node/host-metrics",
        json={"samples": samples},
        headers={"Authorization": f"Bearer {world.fake.specs[name].token}"},
    )
    return answer.status_code


async def metrics(world: World, run_id: str, **query: Any) -> dict[str, list[float]]:
    answer = await world.api.client.get(f"runs/{run_id}/metrics", params=query)
    assert answer.status_code == 200, answer.text
    return {
        item["name"]: [point["value"] for point in item["points"]]
        for item in answer.json()["items"]
    }


async def test_they_are_kept_apart_from_the_scripts_and_read_by_time(world: World) -> None:
    run_id = await world.submit()
    name = await started(world, run_id)
    first = [sample(0, cpu_percent=50.0, memory_bytes=1e9), sample(1, cpu_percent=80.0)]

    for sent in (first, [first[1], sample(2, cpu_percent=90.0)]):  # one comes twice
        assert await send(world, name, *sent) == 200

    assert await metrics(world, run_id, namespace="host") == {
        "node0.cpu_percent": [50.0, 80.0, 90.0],
        "node0.memory_bytes": [1e9],
    }
    moments = [datetime.fromtimestamp(BEGAN + at, UTC).isoformat() for at in (5, 15)]
    found = await metrics(world, run_id, namespace="host", since=moments[0], until=moments[1])
    assert found == {"node0.cpu_percent": [80.0], "node0.memory_bytes": []}
    assert await metrics(world, run_id) == {}


@pytest.mark.parametrize(
    "bad",
    [
        {"number": -1, "time": BEGAN, "values": {}},
        {"number": 0, "time": BEGAN, "values": {"no such name": 1.0}},
        {"number": 0, "time": 1e300, "values": {"cpu_percent": 1.0}},
        {"number": 0, "time": BEGAN, "values": {f"v{n}": 1.0 for n in range(201)}},
    ],
)
async def test_what_is_none_is_refused(world: World, bad: dict[str, Any]) -> None:
    run_id = await world.submit()
    name = await started(world, run_id)
    assert await send(world, name, bad) == 422
    assert await metrics(world, run_id, namespace="host") == {}
