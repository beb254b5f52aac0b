"""Uploads of bytes that are there already: what is answered stays true, and nobody waits for it."""

import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app.garbage.service import collect
from app.storage.objects import ObjectStore
from app.tables.blob import Blob
from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio
DATA = b"bytes of this test alone"
SHA256 = hashlib.sha256(DATA).hexdigest()
KEEP_SECONDS = 24 * 3600.0
missing = ObjectStore.missing


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


@pytest.fixture
def when_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[], Coroutine[Any, Any, None]]], None]:
    """Have something done whenever the store has just been asked for objects."""

    def have_done(call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def asked(store: ObjectStore, digests: Iterable[str]) -> list[str]:
            found = await missing(store, digests)
            await call()
            return found

        monkeypatch.setattr(ObjectStore, "missing", asked)

    return have_done


async def put_long_ago(api: LiveApi) -> None:
    assert (await api.client.put(f"blobs/{SHA256}", content=DATA)).status_code == 201
    long_ago = time.time() - 30 * KEEP_SECONDS
    path = api.objects.local_path(SHA256)
    assert path is not None
    os.utime(path, (long_ago, path.stat().st_mtime))
    workspace = (await api.client.get(".")).json()["id"]
    async with api.database.session() as session:
        mine = update(Blob).where(Blob.workspace_id == workspace, Blob.sha256 == SHA256)
        await session.execute(mine.values(used_at=datetime.fromtimestamp(long_ago, UTC)))


async def test_what_is_said_to_be_there_is_not_collected_meanwhile(
    api: LiveApi, when_asked: Callable[..., None]
) -> None:
    await put_long_ago(api)

    async def collect_now() -> None:
        await collect(api.database, api.objects, unused_for_seconds=KEEP_SECONDS)

    when_asked(collect_now)
    answer = await api.client.post("uploads", json={"size_bytes": len(DATA), "sha256": SHA256})

    assert answer.json()["completed_at"]
    assert (await api.client.get(f"blobs/{SHA256}")).content == DATA


async def test_no_session_is_held_while_the_store_is_asked(
    api: LiveApi, when_asked: Callable[..., None]
) -> None:
    await put_long_ago(api)
    held = []

    async def look() -> None:
        held.append(api.database.pool_use()[0].in_use)

    when_asked(look)
    begun = await api.client.post("uploads", json={"size_bytes": len(DATA), "sha256": SHA256})
    assert begun.json()["completed_at"]
    begun = await api.client.post("uploads", json={"size_bytes": 3})
    address = f"uploads/{begun.json()['id']}"
    sent = await api.client.patch(address, content=b"new", headers={"Upload-Offset": "0"})
    assert sent.json()["completed_at"]
    assert held == [0, 0]
