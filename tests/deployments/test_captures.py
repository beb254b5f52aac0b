"""Requests and answers of a deployment that are kept: what is, for whom, and for how long."""

import asyncio
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.deployments import capture
from app.garbage import repository as garbage
from app.kernel.clock import utc_now
from app.kernel.wake import wake
from app.storage.errors import StoreUnavailable
from app.tables.capture import CaptureFile
from app.tables.deployment import Deployment
from tests.deployments.nodes import answering_nodes
from tests.deployments.test_faults import World, world
from tests.people import somebody
from tests.waiting import until
from workers.expire_captures import CaptureExpiry

__all__ = ["world"]
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
_ALL = {"percent": 100.0, "max_body_bytes": 1000, "keep_days": 7.0, "max_total_bytes": 10**6}


async def capture_all(world: World, **changed: Any) -> None:
    async with world.api.database.session() as session:
        named = update(Deployment).where(Deployment.id == world.deployment_id)
        await session.execute(named.values(data_capture={**_ALL, **changed}))
        await wake(session, Deployment, world.deployment_id)


def path(world: World) -> str:
    return f"deployments/{world.deployment_id}"


async def ask(world: World, body: Any, **headers: str) -> Any:
    answer = await world.api.client.post(f"{path(world)}/score", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


async def written(world: World) -> list[dict[str, Any]]:
    """All files as the API lists them, after what waits was written."""
    await world.api.app.state.scoring.captures.write()
    answer = await world.api.client.get(f"{path(world)}/captures")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def lines_of(world: World, file: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await world.api.client.get(f"{path(world)}/captures/{file['id']}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert len(answer.content) == file["size_bytes"]
    return [json.loads(line) for line in answer.content.splitlines()]


async def test_nothing_is_kept_unless_it_is_wished(world: World) -> None:
    async with answering_nodes(world.api, world.fake):
        await world.until(lambda shown: shown["state"] == "Healthy")
        await ask(world, {"instances": [[1.0]]})

    assert await written(world) == []


async def test_requests_and_answers_are_kept_without_who_asked(world: World) -> None:
    await capture_all(world)
    body, long = {"instances": [[1.0]]}, {"instances": [[0.5] * 1000]}

    async with answering_nodes(world.api, world.fake):
        await world.until(lambda shown: shown["state"] == "Healthy")
        answer = await ask(world, body, **{"X-Request-Id": "mine"})
        await ask(world, long)
        metadata = await world.api.client.get(f"{path(world)}/v2")
        assert metadata.status_code == 404
        (file,) = await written(world)

    assert file["record_count"] == 2
    first, second = await lines_of(world, file)
    assert (first["request"], first["response"]) == (body, answer.json())
    assert (first["request_id"], first["status"], first["path"]) == ("mine", 200, "/v1/predict")
    assert first["model_version"] == answer.headers["served-by"].rpartition("/")[2]
    assert (second["request"], second["request_bytes"] > 1000) == (None, True)
    key = world.api.client.headers["authorization"].removeprefix("Bearer ")
    whole = json.dumps([first, second]).lower()
    assert key.lower() not in whole
    assert "bearer" not in whole
    assert "authorization" not in whole


async def test_what_is_no_json_is_kept_as_bytes(world: World) -> None:
    await capture_all(world)
    target = f"{path(world)}/v2/models/m/infer"

    async with answering_nodes(world.api, world.fake):
        await world.until(lambda shown: shown["state"] == "Healthy")
        headers = {"Inference-Header-Content-Length": "2"}
        await world.api.client.post(target, content=b"{}\x00\xff", headers=headers)
        (file,) = await written(world)

    (line,) = await lines_of(world, file)
    assert line["request"] == {"b64": "e30A/w==", "json_bytes": 2}
    assert line["status"] == 404


async def test_only_so_many_are_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await capture_all(world, percent=50.0)
    chances = iter([0.4, 0.6, 0.4])
    monkeypatch.setattr(capture, "random", SimpleNamespace(random=lambda: next(chances)))

    async with answering_nodes(world.api, world.fake):
        await world.until(lambda shown: shown["state"] == "Healthy")
        for number in range(3):
            await ask(world, {"instances": [[number]]})
        (file,) = await written(world)

    taken = [line["request"]["instances"][0][0] for line in await lines_of(world, file)]
    assert taken == [0, 2]


async def test_a_store_that_is_away_delays_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await capture_all(world)

    async def away(data: bytes) -> Any:
        raise StoreUnavailable("away")

    async with answering_nodes(world.api, world.fake):
        await world.until(lambda shown: shown["state"] == "Healthy")
        with monkeypatch.context() as patched:
            patched.setattr(world.api.objects, "put_bytes", away)
            await ask(world, {"instances": [[1]]})
            assert await written(world) == []
        await ask(world, {"instances": [[2]]})
        (file,) = await written(world)

    assert file["record_count"] == 2


async def test_the_oldest_go_where_there_are_too_many(world: World) -> None:
    await capture_all(world)

    async with answering_nodes(world.api, world.fake):
        await world.until(lambda shown: shown["state"] == "Healthy")
        await ask(world, {"instances": [[1]]})
        (first,) = await written(world)
        await capture_all(world, max_total_bytes=first["size_bytes"] + 10)
        await ask(world, {"instances": [[2]]})
        (second,) = await written(world)

    assert second["id"] != first["id"]
    gone = await world.api.client.get(f"{path(world)}/captures/{first['id']}")
    assert (gone.status_code, gone.json()["code"]) == (404, "capture_not_found")


async def test_what_was_kept_long_enough_goes_and_a_dataset_keeps_it(world: World) -> None:
    await capture_all(world)
    async with answering_nodes(world.api, world.fake):
        await world.until(lambda shown: shown["state"] == "Healthy")
        await ask(world, {"instances": [[1]]})
        (file,) = await written(world)
        content = (await world.api.client.get(f"{path(world)}/captures/{file['id']}")).content
    register = f"{path(world)}/captures/register"
    wish = {"dataset_name": "asked", "before": (utc_now() - timedelta(hours=1)).isoformat()}

    early = await world.api.client.post(register, json=wish)
    made = await world.api.client.post(register, json={"dataset_name": "asked"})

    assert (early.status_code, early.json()["code"]) == (409, "nothing_captured")
    assert made.status_code == 201, made.text
    assert made.json()["lineage"]["deployment_id"] == world.deployment_id
    database = world.api.database
    async with database.session() as session:
        named = update(CaptureFile).where(CaptureFile.id == file["id"])
        await session.execute(named.values(expires_at=func.clock_timestamp()))
    await CaptureExpiry(database).look()
    assert await written(world) == []
    async with database.session() as session:
        await garbage.delete_unreferenced(session, unused_for_seconds=0, sparing=[])
    version = "datasets/asked/versions/1"
    (kept,) = (await world.api.client.get(f"{version}/files")).json()["items"]
    download = await world.api.client.get(f"{version}/files/{kept['path']}")
    assert download.content == content


async def test_the_bytes_of_a_captured_file_are_in_use(world: World) -> None:
    await capture_all(world)
    async with answering_nodes(world.api, world.fake):
        await world.until(lambda shown: shown["state"] == "Healthy")
        await ask(world, {"instances": [[1]]})
        (file,) = await written(world)

    async with world.api.database.session() as session:
        await garbage.delete_unreferenced(session, unused_for_seconds=0, sparing=[])
        sha256 = (
            await session.scalars(select(CaptureFile.sha256).where(CaptureFile.id == file["id"]))
        ).one()
        assert await garbage.held(session, [sha256]) == {sha256}


async def test_a_reader_sees_that_there_are_files_and_not_what_callers_sent(world: World) -> None:
    await capture_all(world)
    async with answering_nodes(world.api, world.fake):
        await world.until(lambda shown: shown["state"] == "Healthy")
        await ask(world, {"instances": [[1]]})
        (file,) = await written(world)
    captures = f"/v1/workspaces/{world.api.workspace}/{path(world)}/captures"

    async with somebody(world.api, role="reader") as reader:
        listed = await reader.get(captures)
        refused = await reader.get(f"{captures}/{file['id']}")

    assert [one["id"] for one in listed.json()["items"]] == [file["id"]]
    assert (refused.status_code, refused.json()["permission"]) == (403, "deployments.keys")


async def test_files_are_written_without_being_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "_FILE_BYTES", 1)
    await capture_all(world)
    async with answering_nodes(world.api, world.fake):
        await world.until(lambda shown: shown["state"] == "Healthy")
        await asyncio.gather(*(ask(world, {"instances": [[number]]}) for number in range(5)))

        async def all_are_there() -> bool:
            listed = await world.api.client.get(f"{path(world)}/captures")
            counts: list[int] = [file["record_count"] for file in listed.json()["items"]]
            return sum(counts) == 5

        await until(all_are_there)
