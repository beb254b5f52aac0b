"""What holds for every body that is sent and every file that is fetched."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.openapi.document import operations
from app.openapi.schemas import DOWNLOADS
from tests.contract.things import Things, make_things
from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio

SIGN_IN = "exchange_sign_in"
"""404 before anything else, unless an operator has set it up."""


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url, datastore_folders=[tmp_path]) as api:
        yield api


@pytest.fixture
async def things(api: LiveApi, tmp_path: Path) -> Things:
    return await make_things(api, tmp_path)


async def test_bodies_of_other_media_types_are_refused(api: LiveApi, things: Things) -> None:
    tried = 0
    for path, method, operation in operations(api.app.openapi()):
        name = operation["operationId"]
        kinds = set(operation.get("requestBody", {}).get("content", {}))
        if not kinds or name == SIGN_IN:
            continue
        tried += 1
        wrong = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
        if "application/octet-stream" not in kinds:
            # The bytes of a file may be of whatever type, or of none that is known.
            wrong += ["text/plain", "application/xml", "json", ""]
        for kind in wrong:
            answer = await api.client.request(
                method,
                things.address(path),
                content=b'{"a": 1}',
                headers={"Content-Type": kind} if kind else {},
            )
            assert answer.status_code == 415, (name, kind, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == "unsupported_media_type"
        assert "415" in operation["responses"], name
    assert tried > 45


async def test_downloads_go_on_where_they_broke_off(api: LiveApi, things: Things) -> None:
    tried = 0
    for path, method, operation in operations(api.app.openapi()):
        kinds = set(operation["responses"].get("200", {}).get("content", {}))
        if method != "get" or not kinds & DOWNLOADS:
            continue
        tried += 1
        name = operation["operationId"]
        address = things.address(path)
        if name == "get_run_archive":
            address += "?prefix=a"
        whole = await api.client.get(address)
        assert whole.status_code == 200, (name, whole.text)
        etag, size_bytes = whole.headers["etag"], len(whole.content)
        assert etag.startswith('"'), (name, "is no strong ETag")
        assert whole.headers["accept-ranges"] == "bytes", name
        assert whole.headers["content-disposition"].startswith("attachment"), name
        head = await api.client.head(address)
        assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", etag), name
        assert head.headers["content-type"] == whole.headers["content-type"]
        known = await api.client.get(address, headers={"If-None-Match": etag})
        assert (known.status_code, known.content) == (304, b""), name
        for asked, start, end in (
            ("bytes=2-", 2, size_bytes),
            ("bytes=1-2", 1, 3),
            ("bytes=-2", size_bytes - 2, size_bytes),
        ):
            part = await api.client.get(address, headers={"Range": asked, "If-Range": etag})
            assert part.status_code == 206, (name, asked, part.text)
            assert part.content == whole.content[start:end], (name, asked)
            assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size_bytes}"
        changed = await api.client.get(address, headers={"Range": "bytes=1-", "If-Range": '"x"'})
        assert (changed.status_code, changed.content) == (200, whole.content), name
        beyond = await api.client.get(address, headers={"Range": f"bytes={size_bytes}-"})
        assert (beyond.status_code, beyond.json()["code"]) == (416, "range_not_satisfiable"), name
        assert beyond.headers["content-range"] == f"bytes */{size_bytes}", name
        assert {"206", "304", "416"} <= operation["responses"].keys(), name
        assert "ETag" in operation["responses"]["200"]["headers"], name
    assert tried >= 7
