"""Blobs: what is missing is asked for, what arrives is checked, and workspaces are apart."""

import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio
DATA = random.Random(300_000).randbytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
ABSENT = "0" * 64


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url, max_upload_bytes=1_000_000) as api:
        yield api


async def test_missing_put_head_get(api: LiveApi) -> None:
    answer = await api.client.post("/blobs/missing", json={"sha256": [SHA256, ABSENT, SHA256]})
    assert answer.json() == {"missing": [SHA256, ABSENT]}
    answer = await api.client.put(f"/blobs/{SHA256}", content=DATA)
    assert answer.status_code == 201
    assert answer.json() == {"sha256": SHA256, "size_bytes": len(DATA)}
    answer = await api.client.post("/blobs/missing", json={"sha256": [SHA256, ABSENT]})
    assert answer.json() == {"missing": [ABSENT]}
    answer = await api.client.head(f"/blobs/{SHA256}")
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["etag"] == f'"{SHA256}"'
    answer = await api.client.get(f"/blobs/{SHA256}")
    assert answer.content == DATA
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_the_empty_blob(api: LiveApi) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    assert (await api.client.put(f"/blobs/{digest}", content=b"")).status_code == 201
    answer = await api.client.get(f"/blobs/{digest}")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("header", "status", "expected"),
    [
        ("bytes=0-9", 206, DATA[:10]),
        ("bytes=299990-", 206, DATA[-10:]),
        ("bytes=-10", 206, DATA[-10:]),
        ("bytes=10-5", 200, DATA),
        ("bytes=0-1,5-6", 200, DATA),
        ("lines=1-2", 200, DATA),
        ("bytes=0-999999999", 200, DATA),
    ],
)
async def test_ranges(api: LiveApi, header: str, status: int, expected: bytes) -> None:
    await api.client.put(f"/blobs/{SHA256}", content=DATA)
    answer = await api.client.get(f"/blobs/{SHA256}", headers={"Range": header})
    assert (answer.status_code, answer.content) == (status, expected)
    assert answer.headers["content-length"] == str(len(expected))


async def test_conditions(api: LiveApi) -> None:
    await api.client.put(f"/blobs/{SHA256}", content=DATA)
    url = f"/blobs/{SHA256}"
    answer = await api.client.get(url, headers={"If-None-Match": f'"x", "{SHA256}"'})
    assert (answer.status_code, answer.content) == (304, b"")
    answer = await api.client.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert answer.status_code == 200
    answer = await api.client.get(url, headers={"Range": "bytes=300000-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */300000"
    assert answer.json()["code"] == "range_not_satisfiable"


async def test_other_bytes_than_announced_are_refused(api: LiveApi) -> None:
    answer = await api.client.put(f"/blobs/{ABSENT}", content=DATA)
    assert answer.status_code == 422
    assert answer.json()["code"] == "digest_mismatch"
    answer = await api.client.post("/blobs/missing", json={"sha256": [SHA256, ABSENT]})
    assert answer.json() == {"missing": [SHA256, ABSENT]}


@pytest.mark.parametrize("digest", ["x", "A" * 64, "0" * 65, "%2e%2e"])
async def test_addresses_that_are_no_digests_are_refused(api: LiveApi, digest: str) -> None:
    answer = await api.client.put(f"/blobs/{digest}", content=b"")
    assert answer.status_code in (404, 422)
    answer = await api.client.post("/blobs/missing", json={"sha256": [digest]})
    assert answer.status_code == 422


async def test_too_many_bytes_are_refused(api: LiveApi) -> None:
    data = bytes(1_000_001)
    digest = hashlib.sha256(data).hexdigest()

    async def unannounced() -> AsyncIterator[bytes]:
        yield data

    for content in (data, unannounced()):
        answer = await api.client.put(f"/blobs/{digest}", content=content)
        assert answer.status_code == 413
    assert not list((api.settings.data_dir / "objects" / "incoming").iterdir())


async def test_another_workspace_does_not_get_at_the_bytes(api: LiveApi) -> None:
    await api.client.put(f"/blobs/{SHA256}", content=DATA)
    other = f"http://api/v1/workspaces/{api.workspace}-b"
    (await api.client.put(other)).raise_for_status()
    answer = await api.client.post(f"{other}/blobs/missing", json={"sha256": [SHA256]})
    assert answer.json() == {"missing": [SHA256]}
    for method in ("GET", "HEAD"):
        answer = await api.client.request(method, f"{other}/blobs/{SHA256}")
        assert answer.status_code == 404
    file = {"path": "a", "sha256": SHA256, "size_bytes": len(DATA)}
    answer = await api.client.post(f"{other}/snapshots", json={"files": [file]})
    assert answer.status_code == 422
    assert answer.json()["missing"] == [SHA256]


async def test_a_damaged_blob_is_missing_again(api: LiveApi) -> None:
    await api.client.put(f"/blobs/{SHA256}", content=DATA)
    path = api.objects.local_path(SHA256)
    assert path is not None
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    answer = await api.client.post("/blobs/missing", json={"sha256": [SHA256]})
    assert answer.json() == {"missing": [SHA256]}
    await api.client.put(f"/blobs/{SHA256}", content=DATA)
    assert (await api.client.get(f"/blobs/{SHA256}")).content == DATA
