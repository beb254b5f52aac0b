"""Whoever waits for a bucket keeps nobody else waiting."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.live_api import LiveApi, live_api
from tests.made_runs import make_runs

pytestmark = pytest.mark.anyio
DATA = b"what is only in the bucket"
AT_ONCE = 4
"""More than the sessions of the database that an API of this test has, which are two."""


class SilentBucket:
    """Takes connections and never answers."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        self._writers.append(writer)

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def silent_bucket() -> AsyncIterator[SilentBucket]:
    bucket = SilentBucket()
    server = await asyncio.start_server(bucket.take, "127.0.0.1", 0)
    bucket.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield bucket
    finally:
        server.close()
        bucket.hang_up()


async def run_file(api: LiveApi) -> str:
    (run_id,) = await make_runs(api, 1)
    path = f"runs/{run_id}/files/outputs/a"
    assert (await api.client.put(path, content=DATA)).status_code == 201
    return path


async def model_file(api: LiveApi) -> str:
    sha256 = hashlib.sha256(DATA).hexdigest()
    assert (await api.client.put(f"blobs/{sha256}", content=DATA)).status_code == 201
    file = {"path": "a", "sha256": sha256, "size_bytes": len(DATA)}
    body = {"framework": "Custom", "files": [file]}
    made = await api.client.post("models/digits/versions", json=body)
    assert made.status_code == 201, made.text
    return "models/digits/versions/1/files/a"


@pytest.mark.parametrize("make", [run_file, model_file])
async def test_downloads_that_wait_for_the_bucket_hold_no_session(
    make: Callable[[LiveApi], Awaitable[str]], tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with live_api(tmp_path / "here", postgres_url, broker_url) as here:
        path = await make(here)
        base = f"http://api/v1/workspaces/{here.workspace}/"
        async with silent_bucket() as bucket:
            options = tmp_path / "options.json"
            keys = {"access_key_id": "key", "secret_access_key": "secret", "region": "us-east-1"}
            options.write_text(json.dumps({**keys, "endpoint": bucket.url, "allow_http": "true"}))
            async with live_api(
                tmp_path / "there",
                postgres_url,
                broker_url,
                database_pool_size=1,
                object_store_url="s3://bucket/prefix",
                object_store_options_file=options,
            ) as there:
                waiting = [
                    asyncio.create_task(there.client.get(base + path)) for _ in range(AT_ONCE)
                ]
                async with asyncio.timeout(60):
                    while bucket.asked < AT_ONCE:
                        await asyncio.sleep(0.05)
                    answer = await there.client.get(base + "experiments")
                assert answer.status_code == 200
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
