"""Datasets over the API: registered from real servers, versioned, downloaded, not drifting."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from app.datasets.checks import ensure_available
from app.datasets.errors import DatasetDrift, DatasetSourceLost, DatasetUnreachable
from app.datasets.fetch import policy_from
from tests.datasets.web import Page, Web, web_server
from tests.live_api import LiveApi, dataset_reconcilers, live_api
from workers import engine, reconcile_dataset

pytestmark = pytest.mark.anyio
NAMES = ["train-images", "train-labels", "t10k-images", "t10k-labels"]


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        for name in NAMES:
            web.add(f"/exdb/mnist/{name}.gz", os.urandom(20_000), etag=f'"{name}-1"')
        yield web


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(
        tmp_path,
        postgres_url,
        broker_url,
        reconcilers=dataset_reconcilers,
        fetch_allow=["127.0.0.1"],
        fetch_timeout_seconds=20,
        fetch_idle_timeout_seconds=10,
    ) as api:
        yield api


def urls(web: Web) -> list[str]:
    return [web.url(f"/exdb/mnist/{name}.gz") for name in NAMES]


async def register(api: LiveApi, web: Web, **more: Any) -> Any:
    body = {"name": "mnist dataset", "urls": urls(web), **more}
    return await api.client.post("/datasets", json=body)


async def ensure(api: LiveApi, version: dict[str, Any]) -> list[dict[str, Any]]:
    return await ensure_available(
        api.database, api.objects, version_id=version["id"], policy=policy_from(api.settings)
    )


async def test_a_registration_fails_when_look_after_look_does(
    api: LiveApi, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def unforeseen(*args: Any, **more: Any) -> None:
        nonlocal looks
        looks += 1
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(reconcile_dataset, "fetch_into", unforeseen)
    monkeypatch.setattr(engine, "_FIRST_PAUSE_SECONDS", 0.01)
    body = {"name": "d", "urls": urls(web)[:1]}
    answer = await api.client.post("/datasets", json=body, headers={"Prefer": "wait=50"})
    assert (answer.status_code, answer.json()["code"]) == (422, "source_failed"), answer.text
    assert "8 attempts ended with RuntimeError" in answer.json()["detail"]
    assert looks == 8


async def damage(api: LiveApi, sha256: str) -> None:
    path = api.objects.local_path(sha256)
    assert path is not None
    path.chmod(0o644)
    path.write_bytes(b"damaged")


async def test_registering_listing_and_downloading(api: LiveApi, web: Web) -> None:
    answer = await register(api, web, description="Digits", tags={"kind": "images"})
    assert answer.status_code == 201, answer.text
    version = answer.json()
    assert (version["name"], version["version"], version["files_count"]) == ("mnist dataset", 1, 4)
    assert version["size_bytes"] == 80_000
    assert version["description"] == "Digits"
    assert answer.headers["location"].endswith("/datasets/mnist%20dataset/versions/1") or (
        answer.headers["location"].endswith("/datasets/mnist dataset/versions/1")
    )
    base = "/datasets/mnist%20dataset"
    assert (await api.client.get(f"{base}/versions/latest")).json() == version
    assert (await api.client.get(f"{base}/versions/1")).json() == version
    assert (await api.client.get(base)).json()["latest_version"] == 1
    assert (await api.client.get("/datasets")).json()["items"][0]["name"] == "mnist dataset"
    files = (await api.client.get(f"{base}/versions/1/files")).json()["items"]
    host = f"http%3A/%2F127.0.0.1%3A{web.port}"
    assert [file["path"] for file in files] == sorted(
        f"{host}/exdb/mnist/{name}.gz" for name in NAMES
    )
    for file in files:
        page = web.pages[file["url"].removeprefix(web.url(""))]
        assert file["sha256"] == hashlib.sha256(page.body).hexdigest()
        assert (file["size_bytes"], file["etag"]) == (20_000, page.etag)
        got = await api.client.get(f"{base}/versions/1/files/{quote(file['path'])}")
        assert got.content == page.body
        assert got.headers["etag"] == f'"{file["sha256"]}"'
        assert (await api.client.get(f"{base}/versions/1/files/{file['url']}")).content == page.body
    part = await api.client.get(
        f"{base}/versions/1/files/{quote(files[0]['path'])}", headers={"Range": "bytes=5-9"}
    )
    assert (part.status_code, len(part.content)) == (206, 5)


async def test_versions_follow_the_content(api: LiveApi, web: Web) -> None:
    first = (await register(api, web)).json()
    again = await register(api, web)
    assert (again.status_code, again.json()) == (200, first)
    forced = await register(api, web, create_new_version=True)
    assert (forced.status_code, forced.json()["version"]) == (201, 2)
    web.pages["/exdb/mnist/t10k-labels.gz"].body = os.urandom(20_000)
    web.pages["/exdb/mnist/t10k-labels.gz"].etag = '"2"'
    changed = await register(api, web)
    assert (changed.status_code, changed.json()["version"]) == (201, 3)
    versions = (await api.client.get("/datasets/mnist%20dataset/versions")).json()["items"]
    assert [version["version"] for version in versions] == [3, 2, 1]


async def test_registering_at_once_from_many_clients_makes_one_version(
    api: LiveApi, web: Web
) -> None:
    answers = await asyncio.gather(*(register(api, web) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 201]
    assert {answer.json()["version"] for answer in answers} == {1}


async def test_without_patience_the_answer_is_an_address_to_ask(api: LiveApi, web: Web) -> None:
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(page: Page) -> None:
        asyncio.run_coroutine_threadsafe(asyncio.wait_for(gate.wait(), 10), loop).result(15)

    web.pages["/exdb/mnist/t10k-labels.gz"].before = hold
    body = {"name": "digits", "urls": urls(web)}
    answer = await api.client.post("/datasets", json=body, headers={"Prefer": "wait=0"})
    assert answer.status_code == 202
    assert answer.json()["state"] == "Pending"
    location = answer.headers["location"]
    gate.set()
    async with asyncio.timeout(20):
        while (found := (await api.client.get(location)).json())["state"] == "Pending":
            await asyncio.sleep(0.02)
    assert (found["state"], found["version"], found["created_version"]) == ("Succeeded", 1, True)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://169.254.169.254/latest/meta-data", "source_forbidden"),
        ("http://10.0.0.1/f", "source_forbidden"),
        ("http://127.0.0.1:{port}/absent", "source_refused"),
        ("http://127.0.0.1:{port}/away", "source_forbidden"),
        ("http://127.0.0.1:{port}/short", "source_incomplete"),
    ],
)
async def test_failures_name_the_address_and_leave_nothing(
    api: LiveApi, web: Web, url: str, code: str
) -> None:
    web.add("/away", status=302, headers={"Location": "http://192.168.0.1/"})
    web.add("/short", b"short", content_length=100)
    url = url.format(port=web.port)
    good = urls(web)
    answer = await register(api, web, urls=[*good, url])
    assert answer.status_code in (422, 503)
    problem = answer.json()
    assert [field["pointer"] for field in problem["errors"]] == [f"/urls/{len(good)}"]
    assert problem["code"] == code
    assert problem["url"] == url
    assert url in problem["detail"]
    assert (await api.client.get("/datasets")).json()["items"] == []
    assert (await api.client.get("/datasets/mnist%20dataset")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"urls": [], "files": []},
        {"urls": ["http://h/a"], "files": [{"url": "http://h/b"}]},
        {"urls": ["file:///etc/passwd"]},
        {"urls": ["http://user:secret@host/f"]},
        {"urls": ["http://h/a", "http://h/a"]},
        {"files": [{"url": "http://h/a", "path": "../a"}]},
        {"urls": ["http://h/a"], "layout": "round"},
        {"urls": ["http://h/a"], "name": "../x"},
        {"urls": ["http://h/a"], "surprise": 1},
    ],
)
async def test_bad_bodies_are_refused_at_once(api: LiveApi, body: dict[str, Any]) -> None:
    answer = await api.client.post("/datasets", json={"name": "x", **body})
    assert answer.status_code == 422
    assert answer.json()["errors"]
    assert "secret" not in answer.text
    assert (await api.client.get("/datasets")).json()["items"] == []


async def test_an_unchanged_source_is_fine_and_not_read_again(api: LiveApi, web: Web) -> None:
    version = (await register(api, web)).json()
    web.requests.clear()
    assert await ensure(api, version) == []
    assert len(web.requests) == 4
    assert all(headers.get("if-none-match") for _, headers in web.requests)


@pytest.mark.parametrize("etag", ['"other"', ""])
async def test_drift_names_the_file_and_what_was_expected(
    api: LiveApi, web: Web, etag: str
) -> None:
    version = (await register(api, web)).json()
    page = web.pages["/exdb/mnist/train-labels.gz"]
    pinned = hashlib.sha256(page.body).hexdigest()
    page.body, page.etag = os.urandom(len(page.body)), etag
    with pytest.raises(DatasetDrift) as caught:
        await ensure(api, version)
    drift = caught.value.drift
    assert drift["url"] == web.url("/exdb/mnist/train-labels.gz")
    assert drift["path"].endswith("train-labels.gz")
    assert drift["expected"]["sha256"] == pinned
    assert drift["found"]["sha256"] == hashlib.sha256(page.body).hexdigest()
    assert drift["path"] in caught.value.detail
    check = (await api.client.post("/datasets/mnist%20dataset/versions/1/verify")).json()
    assert check["state"] == "changed"
    assert [file["state"] for file in check["files"]].count("changed") == 1


async def test_new_validators_of_the_same_content_are_no_drift(api: LiveApi, web: Web) -> None:
    version = (await register(api, web)).json()
    for page in web.pages.values():
        page.etag = '"redeployed"'
    assert await ensure(api, version) == []


@pytest.mark.parametrize("status", [404, 503])
async def test_a_source_that_is_away_is_a_warning_while_the_bytes_are_here(
    api: LiveApi, web: Web, status: int
) -> None:
    version = (await register(api, web)).json()
    web.pages["/exdb/mnist/train-labels.gz"].status = status
    warnings = await ensure(api, version)
    assert [warning["code"] for warning in warnings] == ["dataset_source_unreachable"]
    assert warnings[0]["url"] == web.url("/exdb/mnist/train-labels.gz")
    check = (await api.client.post("/datasets/mnist%20dataset/versions/1/verify")).json()
    assert check["state"] == "unreachable"


@pytest.mark.parametrize(("status", "kind"), [(503, DatasetUnreachable), (404, DatasetSourceLost)])
async def test_without_source_and_bytes_it_is_an_error(
    api: LiveApi, web: Web, status: int, kind: type[DatasetUnreachable]
) -> None:
    version = (await register(api, web)).json()
    page = web.pages["/exdb/mnist/train-labels.gz"]
    await damage(api, hashlib.sha256(page.body).hexdigest())
    page.status = status
    with pytest.raises(kind, match="train-labels") as caught:
        await ensure(api, version)
    assert caught.value.retryable is (status == 503)


async def test_bytes_that_were_damaged_here_are_fetched_again(api: LiveApi, web: Web) -> None:
    version = (await register(api, web)).json()
    page = web.pages["/exdb/mnist/train-labels.gz"]
    sha256 = hashlib.sha256(page.body).hexdigest()
    await damage(api, sha256)
    assert await ensure(api, version) == []
    assert await api.objects.exists(sha256)
    await damage(api, sha256)
    path = quote(f"http%3A/%2F127.0.0.1%3A{web.port}/exdb/mnist/train-labels.gz")
    answer = await api.client.get(f"/datasets/mnist%20dataset/versions/1/files/{path}")
    assert answer.content == page.body


async def test_changed_bytes_never_replace_lost_ones(api: LiveApi, web: Web) -> None:
    version = (await register(api, web)).json()
    page = web.pages["/exdb/mnist/train-labels.gz"]
    sha256 = hashlib.sha256(page.body).hexdigest()
    await damage(api, sha256)
    page.body, page.etag = b"other", '"other"'
    with pytest.raises(DatasetDrift):
        await ensure(api, version)
    assert not await api.objects.exists(sha256)


async def test_description_tags_and_deletion(api: LiveApi, web: Web) -> None:
    await register(api, web)
    base = "/datasets/mnist%20dataset"
    answer = await api.client.patch(base, json={"description": "New"})
    assert answer.json()["description"] == "New"
    assert (await api.client.delete(base)).status_code == 204
    assert (await api.client.delete(base)).status_code == 204
    answer = await api.client.get(base)
    assert (answer.status_code, answer.json()["code"]) == (404, "dataset_not_found")


@pytest.mark.parametrize("version", ["0", "-1", "2", "99999999999", "first"])
async def test_versions_that_are_not_there(api: LiveApi, web: Web, version: str) -> None:
    await register(api, web)
    answer = await api.client.get(f"/datasets/mnist%20dataset/versions/{version}")
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_workspaces_are_apart(api: LiveApi, web: Web) -> None:
    await register(api, web)
    other = f"http://api/v1/workspaces/{api.workspace}-b"
    (await api.client.put(other)).raise_for_status()
    assert (await api.client.get(f"{other}/datasets")).json()["items"] == []
    assert (await api.client.get(f"{other}/datasets/mnist%20dataset")).status_code == 404
