"""Registered models: versions, kinds, what is refused, and why."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.models.kind import Kind, find_kind
from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


async def uploaded(api: LiveApi, **files: bytes) -> list[dict[str, Any]]:
    """Upload bytes and return their manifest; ``__`` in a name is a dot, ``___`` a slash."""
    manifest = []
    for name, data in files.items():
        digest = hashlib.sha256(data).hexdigest()
        assert (await api.client.put(f"blobs/{digest}", content=data)).status_code in (200, 201)
        path = name.replace("___", "/").replace("__", ".")
        manifest.append({"path": path, "sha256": digest, "size_bytes": len(data)})
    return manifest


async def register(api: LiveApi, name: str, files: list[dict[str, Any]], **more: Any) -> Any:
    body = {"files": files, "framework": "tensorflow", **more}
    return await api.client.post(f"models/{name}/versions", json=body)


async def test_versions_count_up_without_gaps_however_many_come_at_once(api: LiveApi) -> None:
    files = await uploaded(api, saved_model__pb=b"model")
    answers = await asyncio.gather(*(register(api, "m", files) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}, answers[0].text
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, 9))
    latest = (await api.client.get("models/m/versions/latest")).json()
    assert (latest["version"], latest["kind"]) == (8, "saved_model")


async def test_files_and_archive_are_downloaded_as_they_were(api: LiveApi) -> None:
    files = await uploaded(api, saved_model__pb=b"model", variables___variables__index=b"index")
    await register(api, "m", files)
    listed = (await api.client.get("models/m/versions/1/files")).json()["items"]
    assert {item["path"] for item in listed} == {"saved_model.pb", "variables/variables.index"}
    one = await api.client.get("models/m/versions/1/files/saved_model.pb")
    assert one.content == b"model"
    assert one.headers["etag"].strip('"') == hashlib.sha256(b"model").hexdigest()
    archive = await api.client.get("models/m/versions/1/archive")
    assert archive.content[:2] == b"\x1f\x8b"


async def test_properties_are_added_and_never_changed(api: LiveApi) -> None:
    await register(api, "m", await uploaded(api, saved_model__pb=b"m"), properties={"p": "x"})
    path = "models/m/versions/1"
    added = await api.client.patch(path, json={"tags": {"t": "1"}, "properties": {"q": "y"}})
    assert added.json()["properties"] == {"p": "x", "q": "y"}
    refused = await api.client.patch(path, json={"properties": {"p": "z"}})
    assert (refused.status_code, refused.json()["code"]) == (409, "property_immutable")


async def test_bytes_that_were_never_uploaded_are_named_and_nothing_is_written(
    api: LiveApi,
) -> None:
    digest = "0" * 64
    answer = await register(
        api, "m", [{"path": "saved_model.pb", "sha256": digest, "size_bytes": 1}]
    )
    assert answer.status_code == 422
    assert digest in answer.text
    assert (await api.client.get("models")).json()["items"] == []


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a/../../b", "x\x00y"])
async def test_paths_that_lead_out_are_refused(api: LiveApi, path: str) -> None:
    (file,) = await uploaded(api, saved_model__pb=b"m")
    assert (await register(api, "m", [{**file, "path": path}])).status_code == 422


async def test_a_version_that_serves_is_not_deleted(api: LiveApi) -> None:
    await register(api, "m", await uploaded(api, saved_model__pb=b"m"))
    made = await api.client.put("deployments/svc", json={"model_name": "m"})
    assert made.status_code == 201, made.text
    refused = await api.client.delete("models/m/versions/1")
    assert (refused.status_code, "svc" in refused.text) == (409, True)


async def test_a_tensorflow_1_checkpoint_is_refused_in_words(api: LiveApi) -> None:
    files = await uploaded(
        api,
        checkpoint=b"c",
        mnist__model__meta=b"m",
        mnist__model__index=b"i",
        **{"mnist__model__data-00000-of-00001": b"d"},
    )
    await register(api, "old", files, framework_version="1.13")
    answer = await api.client.put("deployments/svc", json={"model_name": "old"})
    assert answer.status_code == 422
    assert "SavedModel" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["ab", "Upper", "1st", "a_b", "x" * 33])
async def test_names_of_services_follow_the_contract(api: LiveApi, name: str) -> None:
    await register(api, "m", await uploaded(api, saved_model__pb=b"m"))
    answer = await api.client.put(f"deployments/{name}", json={"model_name": "m"})
    assert answer.status_code == 422


async def test_a_service_that_is_not_ready_says_when_to_come_back(api: LiveApi) -> None:
    await register(api, "m", await uploaded(api, saved_model__pb=b"m"))
    await api.client.put("deployments/svc", json={"model_name": "m"})
    answer = await api.client.post("deployments/svc/score", json={"instances": [[1]]})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


async def test_keys_differ_and_a_new_one_replaces_the_old(api: LiveApi) -> None:
    await register(api, "m", await uploaded(api, saved_model__pb=b"m"))
    await api.client.put("deployments/svc", json={"model_name": "m"})
    before = (await api.client.get("deployments/svc/keys")).json()
    assert before["primary"] != before["secondary"]
    await api.client.post("deployments/svc/keys/regenerate", json={"key": "primary"})
    after = (await api.client.get("deployments/svc/keys")).json()
    assert after["primary"] != before["primary"]
    assert after["secondary"] == before["secondary"]
    for key, refused in ((before["primary"], True), (after["primary"], False)):
        headers = {"Authorization": f"Bearer {key}"}
        answer = await api.client.post(
            "deployments/svc/score", json={"instances": []}, headers=headers
        )
        assert (answer.status_code in (401, 403)) is refused, answer.text


@pytest.mark.parametrize(
    ("paths", "kind", "is_servable"),
    [
        (["saved_model.pb", "variables/variables.index"], Kind.SAVED_MODEL, True),
        (["export/1/saved_model.pb"], Kind.SAVED_MODEL, True),
        (["model.keras"], Kind.KERAS, True),
        (["model.onnx"], Kind.ONNX, False),
        (["m.meta", "m.index", "m.data-00000-of-00001"], Kind.TF1_CHECKPOINT, False),
        (["ckpt.index", "ckpt.data-00000-of-00001"], Kind.TF2_CHECKPOINT, False),
        (["readme.txt"], Kind.UNKNOWN, False),
    ],
)
async def test_kinds_are_told_by_their_files(
    paths: list[str], kind: Kind, is_servable: bool
) -> None:
    found = find_kind(paths)
    assert (found.kind, found.is_servable) == (kind, is_servable)
