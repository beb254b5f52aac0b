"""Comparing two versions in one call, and reading the files of one again."""

import pytest
from sqlalchemy import select

from app.tables.metric import MetricSummary
from app.tables.run import Run
from tests.live_api import LiveApi
from tests.models.test_models import (
    MODEL,
    make_run,
    problem,
    send_blobs,
    upload,
    version_when_read,
)
from tests.serving import wire

pytestmark = pytest.mark.anyio


async def log_metric(api: LiveApi, run_id: str, name: str, value: float) -> None:
    async with api.database.session() as session:
        run = (await session.execute(select(Run).where(Run.id == run_id))).scalar_one()
        session.add(
            MetricSummary(
                run_id=run_id,
                attempt=run.attempt,
                namespace="",
                name=name,
                workspace_id=run.workspace_id,
                type="scalar",
                count=1,
                last=value,
                last_at=run.created_at,
            )
        )


async def registered(api: LiveApi, files: dict[str, bytes], accuracy: float) -> None:
    blobs = await send_blobs(api, files)
    listed = [{**blob, "path": f"outputs/model/{blob['path']}"} for blob in blobs]
    run_id = await make_run(api, listed)
    await log_metric(api, run_id, "accuracy", accuracy)
    answer = await api.client.post(
        "/models/digits/versions",
        json={"run_id": run_id, "path": "outputs/model", "tags": {"a": str(accuracy)}},
    )
    assert answer.status_code == 201, answer.text
    await version_when_read(api, "digits")


async def test_two_versions_side_by_side(api: LiveApi) -> None:
    wide = wire.saved_model(
        {
            "serving_default": wire.signature(
                {"pixels": wire.tensor(wire.FLOAT, [-1, 1024])},
                {"output_0": wire.tensor(wire.FLOAT, [-1, 10])},
            )
        }
    )
    await registered(api, MODEL, 0.5)
    await registered(api, {**MODEL, "saved_model.pb": wide, "notes.txt": b"n"}, 0.75)
    await api.client.put("/models/digits/aliases/champion", json={"version": 1})

    answer = await api.client.get(
        "/models/digits/compare", params={"left": "champion", "right": "latest"}
    )

    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["left"]["version"], found["right"]["version"]) == (1, 2)
    assert found["is_same_signature"] is False
    (tensor,) = found["signature"]
    assert (tensor["side"], tensor["name"]) == ("input", "pixels")
    assert (tensor["left"]["shape"], tensor["right"]["shape"]) == ([-1, 784], [-1, 1024])
    (metric,) = found["metrics"]
    assert metric == {"name": "accuracy", "left": 0.5, "right": 0.75, "change": 0.25}
    assert found["files"]["added"] == ["notes.txt"]
    assert found["files"]["changed"] == ["saved_model.pb"]
    sizes = [found[side]["size_bytes"] for side in ("left", "right")]
    assert found["size_difference_bytes"] == sizes[1] - sizes[0]
    assert found["tags"] == [{"name": "a", "left": "0.5", "right": "0.75"}]
    assert [each["name"] for each in found["lineage"]] == ["run_id"]
    same = await api.client.get("/models/digits/compare", params={"left": 1, "right": 1})
    assert same.json()["is_same_files"] is True
    assert same.json()["lineage"] == same.json()["signature"] == []


async def test_files_are_read_again_and_the_result_is_kept(api: LiveApi) -> None:
    await upload(api, "kept", MODEL)
    assert (await api.client.get("/models/kept/versions/1")).json()["verification"] is None

    intact = (await api.client.post("/models/kept/versions/latest/verify")).json()

    assert (intact["state"], intact["files_count"], intact["damaged"]) == ("intact", 2, [])
    assert (await api.client.get("/models/kept/versions/1")).json()["verification"] == intact


async def test_damage_is_found_and_named(api: LiveApi) -> None:
    data = {**MODEL, "saved_model.pb": wire.saved_model({}) + b"\x00" * 7}
    version = await upload(api, "broken", data)
    files = (await api.client.get("/models/broken/versions/1/files")).json()["items"]
    digest = next(file["sha256"] for file in files if file["path"] == "saved_model.pb")
    objects = api.app.state.objects
    path = objects.local_path(digest)
    path.chmod(0o600)
    path.write_bytes(b"damaged")

    found = (await api.client.post("/models/broken/versions/1/verify")).json()

    assert (found["state"], found["damaged_count"]) == ("damaged", 1)
    assert found["damaged"][0]["path"] == "saved_model.pb"
    kept = (await api.client.get("/models/broken/versions/1")).json()
    assert kept["verification"]["state"] == "damaged"
    assert kept["id"] == version["id"]


async def test_versions_that_are_not_there_cannot_be_compared(api: LiveApi) -> None:
    await upload(api, "one", MODEL)

    answer = await api.client.get("/models/one/compare", params={"left": 1, "right": "champion"})

    assert problem(answer, 404)["code"] == "model_version_not_found"
