"""The registry through its API: versions, sources, lineage, files, refusals."""

import asyncio
import hashlib
import io
import tarfile
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from app.kernel.ids import new_id
from app.tables.deployment import Deployment
from app.tables.experiment import Experiment
from app.tables.model import ModelVersion
from app.tables.run import Run, RunFile
from app.tables.workspace import Workspace
from tests.live_api import LiveApi
from tests.serving import wire

pytestmark = pytest.mark.anyio

MODEL = {"saved_model.pb": wire.digits_model(), "variables/variables.index": b"index"}


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


async def upload(api: LiveApi, name: str, files: dict[str, bytes]) -> dict[str, Any]:
    response = await api.client.put(f"/models/{name}/archive", content=packed(files))
    assert response.status_code == 201, response.text
    return dict(response.json())


async def send_blobs(api: LiveApi, files: dict[str, bytes]) -> list[dict[str, Any]]:
    listed = []
    for path, data in files.items():
        digest = hashlib.sha256(data).hexdigest()
        (await api.client.put(f"/blobs/{digest}", content=data)).raise_for_status()
        listed.append({"path": path, "sha256": digest, "size_bytes": len(data)})
    return listed


async def make_run(
    api: LiveApi, files: list[dict[str, Any]], *, read: dict[str, Any] | None = None
) -> str:
    """A run as its reconciler leaves it, with these files in its history.

    Args:
        api: the application.
        files: of the run.
        read: an input, as its request has it.
    """
    run_id = new_id("run")
    async with api.database.session() as session:
        statement = select(Workspace.id).where(Workspace.name == api.workspace)
        workspace_id = (await session.execute(statement)).scalar_one()
        named = select(Experiment).where(
            Experiment.workspace_id == workspace_id, Experiment.name == "digits"
        )
        experiment = (await session.execute(named)).scalar_one_or_none() or Experiment(
            id=new_id("exp"), workspace_id=workspace_id, name="digits"
        )
        session.add(experiment)
        await session.flush()
        inputs = {"mnist": read or {"dataset": "digits", "version": 3, "mode": "mount"}}
        run = Run(
            id=run_id,
            workspace_id=workspace_id,
            experiment_id=experiment.id,
            created_by="test",
            request={"inputs": inputs},
            status="Completed",
            max_attempts=1,
            node_count=1,
            next_check_at=None,
        )
        session.add(run)
        await session.flush()
        for file in files:
            session.add(RunFile(run_id=run_id, origin="outputs", attempt=1, **file))
    return run_id


async def version_when_read(api: LiveApi, name: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            version = (await api.client.get(f"/models/{name}/versions/latest")).json()
            if version["signature_state"] != "Pending":
                return dict(version)
            await asyncio.sleep(0.05)


def problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return dict(response.json())


async def test_a_version_from_a_run_knows_where_it_came_from(api: LiveApi) -> None:
    blobs = await send_blobs(api, MODEL)
    files = [{**blob, "path": f"outputs/model/{blob['path']}"} for blob in blobs]
    other = {**blobs[0], "path": "outputs/model2/saved_model.pb"}
    run_id = await make_run(api, [*files, other])

    created = await api.client.post(
        "/models/digits/versions",
        json={
            "run_id": run_id,
            "path": "outputs/model",
            "framework_version": "2.15.1",
            "resource_configuration": {"cpu": 0.5, "memory_gb": 1, "gpu": 0},
            "tags": {"stage": "test"},
        },
    )

    assert created.status_code == 201, created.text
    assert created.headers["location"].endswith("/models/digits/versions/1")
    body = created.json()
    assert (body["version"], body["kind"], body["files_count"]) == (1, "saved_model", 2)
    assert body["is_deployable"] is True
    assert body["lineage"] == {
        "run_id": run_id,
        "experiment_name": "digits",
        "path": "outputs/model",
        "snapshot_id": None,
        "image_hash": None,
        "dataset_versions": [{"name": "mnist", "dataset": "digits", "version": 3}],
        "parent": None,
    }
    listed = (await api.client.get("/models/digits/versions/1/files")).json()["items"]
    assert [file["path"] for file in listed] == sorted(MODEL)


async def test_the_signature_is_read_without_tensorflow(api: LiveApi) -> None:
    await upload(api, "digits", {f"export/1/{path}": data for path, data in MODEL.items()})

    version = await version_when_read(api, "digits")

    assert version["signature_state"] == "Ready"
    assert version["signature"] == {
        "signature_name": "serving_default",
        "inputs": [{"name": "pixels", "dtype": "float32", "shape": [-1, 784]}],
        "outputs": [{"name": "output_0", "dtype": "float32", "shape": [-1, 10]}],
    }


async def test_a_signature_of_very_many_names_is_read_whole(api: LiveApi) -> None:
    one = {"x": wire.tensor(wire.FLOAT, [1])}
    others = {
        f"method_{index:05d}": wire.signature(one, {f"{'y' * 200}{index}": one["x"]})
        for index in range(2000)
    }
    saved = wire.saved_model({"serving_default": wire.signature(one, one), **others})
    await upload(api, "wide", {"saved_model.pb": saved})

    version = await version_when_read(api, "wide")

    assert version["signature_state"] == "Ready", version["signature_reason"]


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"saved_model.pb": b"\xff\xff broken"}, "not a SavedModel"),
        ({"saved_model.pb": wire.saved_model({})}, "no signature"),
        ({"m.meta": b"x", "m.index": b"x"}, "Saver checkpoint"),
        ({"model.keras": b"x"}, "once it is deployed"),
    ],
)
async def test_why_there_is_no_signature_is_said(
    api: LiveApi, files: dict[str, bytes], word: str
) -> None:
    await upload(api, "odd", files)

    version = await version_when_read(api, "odd")

    assert version["signature_state"] == "Unavailable"
    assert word in version["signature_reason"]
    assert version["is_deployable"] is ("model.keras" in files)


async def test_an_idempotency_key_makes_one_version_of_many_requests(api: LiveApi) -> None:
    body = {"files": await send_blobs(api, MODEL)}
    headers = {"Idempotency-Key": f"once-{api.workspace}"}

    async def register() -> tuple[int, int]:
        answer = await api.client.post("/models/sure/versions", json=body, headers=headers)
        return answer.status_code, answer.json()["version"]

    assert set(await asyncio.gather(*(register() for _ in range(5)))) == {(201, 1)}
    versions = (await api.client.get("/models/sure/versions")).json()["items"]
    assert [item["version"] for item in versions] == [1]


async def test_numbers_have_no_gaps_when_many_register_at_once(api: LiveApi) -> None:
    files = await send_blobs(api, MODEL)
    body = {"files": files}
    bad = {"files": [{**files[0], "sha256": "0" * 64}]}

    calls = [
        api.client.post("/models/busy/versions", json=bad if n % 3 == 0 else body)
        for n in range(12)
    ]
    answers = await asyncio.gather(*calls)

    given = sorted(a.json()["version"] for a in answers if a.status_code == 201)
    assert given == list(range(1, 9))
    model = (await api.client.get("/models/busy")).json()
    assert model["latest_version"] == 8
    page = (await api.client.get("/models/busy/versions", params={"page_size": 3})).json()
    assert [item["version"] for item in page["items"]] == [8, 7, 6]
    assert page["next_page_token"]


async def test_files_and_archive_come_back_as_they_went_in(api: LiveApi) -> None:
    await upload(api, "digits", MODEL)
    base = "/models/digits/versions/1"

    whole = await api.client.get(f"{base}/files/saved_model.pb")
    part = await api.client.get(f"{base}/files/saved_model.pb", headers={"Range": "bytes=2-5"})
    same = await api.client.get(
        f"{base}/files/saved_model.pb", headers={"If-None-Match": whole.headers["etag"]}
    )
    archive = await api.client.get(f"{base}/archive")

    assert whole.content == MODEL["saved_model.pb"]
    assert (part.status_code, part.content) == (206, whole.content[2:6])
    assert same.status_code == 304
    with tarfile.open(fileobj=io.BytesIO(archive.content)) as packed_again:
        assert sorted(packed_again.getnames()) == sorted(MODEL)
    problem(await api.client.get(f"{base}/files/none"), 404)


async def test_tags_change_and_properties_are_only_added(api: LiveApi) -> None:
    await upload(api, "digits", MODEL)
    base = "/models/digits/versions/1"

    first = await api.client.patch(
        base, json={"tags": {"a": "1", "b": "2"}, "properties": {"p": "1"}, "description": "d"}
    )
    second = await api.client.patch(base, json={"tags": {"a": None}, "properties": {"q": "2"}})
    refused = await api.client.patch(base, json={"properties": {"p": "other"}})
    unknown = await api.client.patch(base, json={"version": 7})

    assert first.json()["tags"] == {"a": "1", "b": "2"}
    assert second.json()["tags"] == {"b": "2"}
    assert second.json()["properties"] == {"p": "1", "q": "2"}
    assert second.json()["description"] == "d"
    assert problem(refused, 409)["code"] == "property_immutable"
    problem(unknown, 422)


async def test_a_model_in_use_stays(api: LiveApi) -> None:
    version = await upload(api, "digits", MODEL)
    await upload(api, "digits", MODEL)
    async with api.database.session() as session:
        row = await session.get_one(ModelVersion, version["id"])
        statement = select(Workspace.id).where(Workspace.name == api.workspace)
        deployment = Deployment(
            id=new_id("dep"),
            workspace_id=(await session.execute(statement)).scalar_one(),
            name="svc",
            model_version_id=row.id,
            replica_count=1,
            next_check_at=None,
        )
        session.add(deployment)

    in_use = problem(await api.client.delete("/models/digits/versions/1"), 409)
    whole = problem(await api.client.delete("/models/digits"), 409)
    other = await api.client.delete("/models/digits/versions/2")

    assert in_use["code"] == whole["code"] == "model_in_use"
    assert "svc" in in_use["detail"]
    assert other.status_code == 204
    assert (await upload(api, "digits", MODEL))["version"] == 3


async def test_an_unused_model_goes(api: LiveApi) -> None:
    await upload(api, "digits", MODEL)

    assert (await api.client.delete("/models/digits")).status_code == 204
    assert (await api.client.delete("/models/digits")).status_code == 204
    assert problem(await api.client.get("/models/digits"), 404)["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("name", "framework"),
    [("model.onnx", "onnx"), ("model.keras", "tensorflow"), ("model.h5", "tensorflow")],
)
async def test_the_name_of_one_file_says_its_framework(
    api: LiveApi, name: str, framework: str
) -> None:
    address = f"/models/digits/archive?filename={name}"
    made = await api.client.put(address, content=b"a model")
    assert made.status_code == 201, made.text
    assert made.json()["framework"] == framework


async def test_what_is_wrong_with_a_request_is_named(api: LiveApi) -> None:
    run_id = await make_run(api, [])
    post = api.client.post
    address = "/models/digits/versions"
    cases = [
        ({}, "", "model_source"),
        ({"path": "outputs", "run_id": "run_none"}, "/run_id", "unknown_run"),
        ({"path": "outputs"}, "/run_id", "missing"),
        ({"path": "outputs/model", "run_id": run_id}, "/path", "path_not_found"),
        (
            {"files": [{"path": "../x", "sha256": "0" * 64, "size_bytes": 1}]},
            "/files",
            "path_traversal",
        ),
        (
            {"files": [{"path": "x", "sha256": "0" * 64, "size_bytes": 1}]},
            "/files/0",
            "blob_missing",
        ),
        ({"path": "p", "run_id": run_id, "framework": "pytorch"}, "/framework", "literal_error"),
    ]

    for body, pointer, code in cases:
        found = problem(await post(address, json=body), 422)["errors"][0]
        assert (found["pointer"].rstrip("/"), found["code"]) == (pointer, code)
    problem(await api.client.put("/models/digits/archive", content=b"no archive"), 422)
    problem(await api.client.get("/models/digits/versions/0"), 422)
    assert (await api.client.get("/models")).json()["items"] == []


async def test_files_whose_bytes_are_gone_are_asked_for_again(api: LiveApi) -> None:
    data = b"weights that a disk lost"
    sha256 = hashlib.sha256(data).hexdigest()
    body = {"files": [{"path": "w", "sha256": sha256, "size_bytes": len(data)}]}
    assert (await api.client.put(f"blobs/{sha256}", content=data)).status_code == 201
    path = api.objects.local_path(sha256)
    assert path is not None
    path.unlink()

    refused = problem(await api.client.post("/models/digits/versions", json=body), 422)

    assert refused["errors"][0]["code"] == "blob_missing"
    assert refused["missing"] == [sha256]
    assert (await api.client.put(f"blobs/{sha256}", content=data)).status_code == 201
    assert (await api.client.post("/models/digits/versions", json=body)).status_code == 201
