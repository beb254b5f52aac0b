"""Named environments over the API."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


async def test_create_replace_read_list_delete(api: LiveApi) -> None:
    body = {"framework": "TensorFlow", "framework_version": "2.15", "pip_packages": ["Six >=1"]}
    created = await api.client.put("/environments/digits", json=body)
    assert created.status_code == 201, created.text
    assert created.headers["location"].endswith("/environments/digits")
    assert created.json()["spec"]["framework"] == "tensorflow"
    assert created.json()["spec"]["pip_packages"] == ["six>=1"]
    replaced = await api.client.put(
        "/environments/digits", json={"python_version": "3.11", "description": "plain"}
    )
    assert replaced.status_code == 200
    assert replaced.json()["spec"]["framework"] is None
    read = await api.client.get("/environments/digits")
    assert read.json() == replaced.json()
    assert read.headers["etag"] == replaced.headers["etag"]
    lost_update = await api.client.put(
        "/environments/digits", json={}, headers={"If-Match": created.headers["etag"]}
    )
    assert lost_update.status_code == 412
    listed = (await api.client.get("/environments")).json()
    assert [one["name"] for one in listed["items"]] == ["digits"]
    assert (await api.client.delete("/environments/digits")).status_code == 204
    assert (await api.client.delete("/environments/digits")).status_code == 204
    missing = await api.client.get("/environments/digits")
    assert (missing.status_code, missing.json()["code"]) == (404, "environment_not_found")


@pytest.mark.parametrize("name", ["AzureML-TensorFlow", "azureml", "Microsoft.x", "microsoft-1"])
async def test_reserved_names(api: LiveApi, name: str) -> None:
    answer = await api.client.put(f"/environments/{name}", json={})
    assert (answer.status_code, answer.json()["code"]) == (403, "environment_name_reserved")


async def test_errors_point_at_the_line(api: LiveApi) -> None:
    body = {"pip_packages": ["six", "--index-url https://elsewhere.example"]}
    answer = await api.client.put("/environments/bad", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "/pip_packages/1"
    assert error["code"] == "requirement_option"
    assert (await api.client.get("/environments/bad")).status_code == 404
