"""Uploads in pieces go on where they broke off, and nothing half ever becomes a blob."""

import asyncio
import base64
import hashlib
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from fastapi.requests import HTTPConnection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.garbage.service import collect
from app.storage.partial import PartialFile
from app.uploads import abandoned, receiving, repository, service
from app.uploads.errors import UploadBusy
from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio
DATA = random.Random(7).randbytes(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url, max_upload_bytes=5_000_000) as api:
        yield api


async def begin(api: LiveApi, **body: Any) -> str:
    answer = await api.client.post("uploads", json={"size_bytes": len(DATA), **body})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"].endswith(f"/uploads/{answer.json()['id']}")
    return str(answer.json()["id"])


async def send(
    api: LiveApi, upload: str, data: bytes, *, at: int, **headers: str
) -> httpx2.Response:
    return await api.client.patch(
        f"uploads/{upload}", content=data, headers={"Upload-Offset": str(at), **headers}
    )


async def offset(api: LiveApi, upload: str) -> int:
    answer = await api.client.head(f"uploads/{upload}")
    assert answer.status_code == 204
    assert answer.headers["upload-length"] == str(len(DATA))
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


def partial_files(api: LiveApi) -> list[Path]:
    return list((api.objects.root / "partial").iterdir())


def content_digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


async def test_pieces_become_a_blob(api: LiveApi) -> None:
    upload = await begin(api)
    for start in range(0, len(DATA), 1_000_000):
        assert await offset(api, upload) == start
        piece = DATA[start : start + 1_000_000]
        answer = await send(
            api, upload, piece, at=start, **{"Content-Digest": content_digest(piece)}
        )
        assert answer.status_code == 200, answer.text
    assert answer.json()["sha256"] == SHA256
    assert answer.json()["completed_at"]
    assert answer.headers["upload-complete"] == "?1"
    assert (await api.client.get(f"blobs/{SHA256}")).content == DATA
    assert partial_files(api) == []
    again = await send(api, upload, b"x", at=len(DATA))
    assert (again.status_code, again.json()["code"]) == (409, "upload_complete")


@pytest.mark.parametrize("with_digest", [False, True])
async def test_a_broken_connection_keeps_what_came_unless_the_piece_must_be_checked(
    api: LiveApi, with_digest: bool
) -> None:
    upload = await begin(api, sha256=SHA256)
    headers = {"Content-Digest": content_digest(DATA)} if with_digest else {}
    await break_off(api, upload, DATA[:1_234_567], **headers)
    reached = await offset(api, upload)
    assert reached == (0 if with_digest else 1_234_567)
    answer = await send(api, upload, DATA[reached:], at=reached)
    assert answer.json()["sha256"] == SHA256
    assert (await api.client.get(f"blobs/{SHA256}")).content == DATA


async def break_off(api: LiveApi, upload: str, data: bytes, **headers: str) -> None:
    """Send a part of a piece, then hang up."""
    messages = iter(
        [{"type": "http.request", "body": data, "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Any:
        return next(messages)

    async def ignore(message: Any) -> None:
        pass

    request = api.client.build_request(
        "PATCH", f"uploads/{upload}", headers={"Upload-Offset": "0", **headers}
    )
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "PATCH",
        "scheme": "http",
        "path": request.url.path,
        "raw_path": request.url.raw_path,
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": ("api", 80),
        "client": ("127.0.0.1", 1),
    }
    assert HTTPConnection(scope).url.path == request.url.path
    await api.app(scope, receive, ignore)


async def test_a_piece_that_belongs_elsewhere_is_refused_with_the_right_place(
    api: LiveApi,
) -> None:
    upload = await begin(api)
    await send(api, upload, DATA[:100], at=0)
    for wrong in (0, 50, 101):
        answer = await send(api, upload, DATA[wrong:200], at=wrong)
        assert (answer.status_code, answer.json()["code"]) == (409, "upload_offset_mismatch")
        assert answer.headers["upload-offset"] == "100"
    missing = await api.client.patch(f"uploads/{upload}", content=b"x")
    assert (missing.status_code, missing.json()["code"]) == (400, "upload_offset_missing")
    assert await offset(api, upload) == 100


async def test_a_damaged_piece_leaves_nothing(api: LiveApi) -> None:
    upload = await begin(api)
    await send(api, upload, DATA[:100], at=0)
    right = content_digest(DATA[100:200])
    answer = await send(api, upload, b"?" * 100, at=100, **{"Content-Digest": right})
    assert (answer.status_code, answer.json()["code"]) == (422, "digest_mismatch")
    assert await offset(api, upload) == 100
    malformed = await send(api, upload, b"?", at=100, **{"Content-Digest": "sha-256=:short:"})
    assert malformed.json()["errors"][0]["code"] == "digest_malformed"
    assert (await send(api, upload, DATA[100:], at=100)).json()["sha256"] == SHA256


async def test_a_file_with_another_hash_never_becomes_a_blob(api: LiveApi) -> None:
    upload = await begin(api, sha256=SHA256)
    answer = await send(api, upload, b"?" * len(DATA), at=0)
    assert (answer.status_code, answer.json()["code"]) == (422, "digest_mismatch")
    assert await offset(api, upload) == 0
    assert partial_files(api) == []
    assert (await api.client.get(f"blobs/{SHA256}")).status_code == 404
    assert (await send(api, upload, DATA, at=0)).json()["completed_at"]


async def test_more_than_announced_is_refused(api: LiveApi) -> None:
    upload = await begin(api)
    answer = await send(api, upload, DATA + b"!", at=0)
    assert (answer.status_code, answer.json()["code"]) == (422, "upload_too_long")
    assert await offset(api, upload) == 0
    too_large = await api.client.post("uploads", json={"size_bytes": 5_000_001})
    assert (too_large.status_code, too_large.json()["code"]) == (413, "blob_too_large")


async def test_what_the_workspace_has_needs_no_sending(api: LiveApi) -> None:
    await api.client.put(f"blobs/{SHA256}", content=DATA)
    body = {"size_bytes": len(DATA), "sha256": SHA256}
    answer = await api.client.post("uploads", json=body)
    assert answer.json()["completed_at"]
    assert answer.headers["upload-complete"] == "?1"
    wrong = await api.client.post("uploads", json={**body, "size_bytes": 1})
    assert wrong.json()["errors"][0]["code"] == "size_mismatch"


async def test_nothing_at_all_is_a_file_too(api: LiveApi) -> None:
    answer = await api.client.post("uploads", json={"size_bytes": 0})
    assert answer.json()["sha256"] == hashlib.sha256(b"").hexdigest()
    assert answer.json()["completed_at"]


async def test_only_one_request_writes_at_a_time(api: LiveApi) -> None:
    upload = await begin(api)
    first_is_in, first_may_end = anyio.Event(), anyio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield DATA[:100]
        first_is_in.set()
        await first_may_end.wait()
        yield DATA[100:]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            lambda: api.client.patch(
                f"uploads/{upload}", content=slow(), headers={"Upload-Offset": "0"}
            )
        )
        await first_is_in.wait()
        answer = await send(api, upload, DATA, at=0)
        assert (answer.status_code, answer.json()["code"]) == (409, "upload_busy")
        first_may_end.set()
    assert (await api.client.get(f"uploads/{upload}")).json()["sha256"] == SHA256


async def late(api: LiveApi, upload: str) -> Callable[[], Awaitable[Any]]:
    """A request with all the rest that has read the row now, and goes on when it is called."""
    workspace = (await api.client.get(".")).json()["id"]
    async with api.database.session() as session:
        row = await repository.get(session, workspace, upload)
    at = row.offset_bytes

    async def rest() -> AsyncIterator[bytes]:
        yield DATA[at:]

    receiver = receiving.Receiver(api.database, api.objects, row)
    return lambda: receiver.receive(receiving.Piece(at, rest(), None))


async def test_a_request_that_comes_late_takes_nothing_away(api: LiveApi) -> None:
    upload = await begin(api)
    first = await late(api, upload)
    await send(api, upload, DATA[:1000], at=0)
    second = await late(api, upload)
    await send(api, upload, DATA[1000:2000], at=1000)
    for request in (first, second):
        with pytest.raises(UploadBusy):
            await request()
        assert api.objects.partial_path(upload).read_bytes() == DATA[:2000]
    assert (await send(api, upload, DATA[2000:], at=2000)).json()["sha256"] == SHA256
    for request in (first, second):
        with pytest.raises(UploadBusy):
            await request()
    assert partial_files(api) == []
    assert (await api.client.get(f"blobs/{SHA256}")).content == DATA


async def checked(api: LiveApi, left: bytes | None = DATA) -> tuple[str, Path]:
    """An upload whose hash is recorded and whose file is still beside: its id, and the file."""
    upload = await begin(api)
    path = api.objects.partial_path(upload)
    if left is not None:
        path.write_bytes(left)
    async with api.database.session() as session:
        await repository.advance(session, upload, len(DATA))
        await repository.record_hash(session, upload, SHA256)
    return upload, path


async def test_an_empty_file_left_by_a_late_request_replaces_nothing(api: LiveApi) -> None:
    await api.client.put(f"blobs/{SHA256}", content=DATA)
    upload, _ = await checked(api, left=b"")
    assert (await send(api, upload, b"", at=len(DATA))).json()["completed_at"]
    assert (await api.client.get(f"blobs/{SHA256}")).content == DATA
    assert partial_files(api) == []


async def test_a_file_that_becomes_an_object_is_busy(api: LiveApi) -> None:
    upload, path = await checked(api)
    with PartialFile(path, offset_bytes=len(DATA)):
        answer = await send(api, upload, b"", at=len(DATA))
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_busy")
    assert (await send(api, upload, b"", at=len(DATA))).json()["completed_at"]


async def test_a_crash_between_check_and_publication_loses_nothing(api: LiveApi) -> None:
    for is_moved in (False, True):
        upload, path = await checked(api)
        if is_moved:
            api.objects.adopt(path, SHA256)
        answer = await send(api, upload, b"", at=len(DATA))
        assert answer.json()["completed_at"]
        assert (await api.client.get(f"blobs/{SHA256}")).content == DATA
        assert partial_files(api) == []


async def test_a_crash_before_the_check_is_made_good_by_the_next_request(api: LiveApi) -> None:
    upload = await begin(api)
    api.objects.partial_path(upload).write_bytes(DATA + b"not on record")
    async with api.database.session() as session:
        await repository.advance(session, upload, len(DATA))
    assert (await send(api, upload, b"", at=len(DATA))).json()["sha256"] == SHA256


async def test_a_lost_file_begins_again(api: LiveApi) -> None:
    upload = await begin(api)
    await send(api, upload, DATA[:1000], at=0)
    api.objects.partial_path(upload).unlink()
    answer = await send(api, upload, DATA[1000:], at=1000)
    assert (answer.status_code, answer.headers["upload-offset"]) == (409, "0")
    assert (await send(api, upload, DATA, at=0)).json()["sha256"] == SHA256


async def test_what_was_checked_and_then_lost_begins_again(api: LiveApi) -> None:
    # As a backup brings it back that was made between the check and the end.
    upload, _ = await checked(api, left=None)
    answer = await send(api, upload, b"", at=len(DATA))
    assert (answer.status_code, answer.headers["upload-offset"]) == (409, "0")
    assert await offset(api, upload) == 0
    assert (await api.client.get(f"blobs/{SHA256}")).status_code == 404
    assert (await send(api, upload, DATA, at=0)).json()["sha256"] == SHA256
    assert (await api.client.get(f"blobs/{SHA256}")).content == DATA


async def test_what_was_checked_is_not_collected_before_the_upload_ends(api: LiveApi) -> None:
    upload, path = await checked(api)
    api.objects.adopt(path, SHA256)
    await collect(api.database, api.objects, unused_for_seconds=0)
    assert (await send(api, upload, b"", at=len(DATA))).json()["completed_at"]
    assert (await api.client.get(f"blobs/{SHA256}")).content == DATA


async def test_files_of_uploads_that_are_gone_are_removed_once_they_are_old(api: LiveApi) -> None:
    upload = await begin(api)
    await send(api, upload, DATA[:1000], at=0)
    paths = [api.objects.partial_path(name) for name in (upload, "upl_old", "upl_new")]
    for path in paths[1:]:
        path.touch()
    for path in paths[:2]:
        os.utime(path, (0, 0))
    await abandoned.give_up_abandoned(api.database, api.objects)
    assert [path.exists() for path in paths] == [True, False, True]


async def test_all_that_nobody_went_on_with_are_given_up(
    api: LiveApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = [await begin(api) for _ in range(5)]
    monkeypatch.setattr(abandoned, "_GIVEN_UP_AT_ONCE", 2)
    monkeypatch.setattr(service, "KEEP_SECONDS", 0.0)
    assert await abandoned.give_up_abandoned(api.database, api.objects) >= len(uploads)
    async with api.database.session() as session:
        assert await repository.known(session, uploads) == set()


async def test_given_up(api: LiveApi) -> None:
    upload = await begin(api)
    await send(api, upload, DATA[:1000], at=0)
    assert (await api.client.delete(f"uploads/{upload}")).status_code == 204
    assert partial_files(api) == []
    assert (await api.client.head(f"uploads/{upload}")).status_code == 404
    answer = await send(api, upload, b"", at=0)
    assert (answer.status_code, answer.json()["code"]) == (404, "upload_not_found")


@given(cuts=st.lists(st.integers(0, 5000), max_size=6))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_wherever_a_file_is_cut(api: LiveApi, cuts: list[int]) -> None:
    data = DATA[:5000]
    answer = await api.client.post("uploads", json={"size_bytes": len(data)})
    upload = answer.json()["id"]
    marks = sorted({0, *cuts})
    for start, end in zip(marks, [*marks[1:], len(data)], strict=True):
        answer = await send(api, upload, data[start:end], at=start)
        if answer.json()["completed_at"]:
            break
    assert answer.json()["sha256"] == hashlib.sha256(data).hexdigest()


async def test_unfinished_uploads_are_limited_and_finished_ones_are_not(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with live_api(
        tmp_path,
        postgres_url,
        broker_url,
        unfinished_uploads_max=2,
        unfinished_uploads_max_bytes=10,
    ) as api:

        async def post(size: int) -> httpx2.Response:
            return await api.client.post("uploads", json={"size_bytes": size})

        # Many at once do not pass together.
        answers = await asyncio.gather(*(post(4) for _ in range(6)))
        begun = [answer.json()["id"] for answer in answers if answer.status_code == 201]
        assert len(begun) == 2
        refused = next(answer for answer in answers if answer.status_code != 201)
        assert (refused.status_code, refused.json()["code"]) == (409, "too_many_uploads")
        assert refused.json()["unfinished_count"] == 2
        # An upload that ends, or is given up, makes place.
        sent = await send(api, begun[0], b"four", at=0)
        assert sent.json()["completed_at"]
        assert (await post(7)).status_code == 409
        assert (await post(6)).status_code == 201
        assert (await post(0)).status_code == 201
        assert (await post(1)).status_code == 409
        assert (await api.client.delete(f"uploads/{begun[1]}")).status_code == 204
        assert (await post(1)).status_code == 201
