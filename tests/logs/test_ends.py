"""What comes to a log after its end, and who still reads it then."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.wake import signal
from app.logs import repository, sealing
from app.logs.service import LOG_TOPIC
from tests.live_api import LiveApi, live_api
from tests.logs.nodes import STDOUT, start_nodes
from tests.logs.test_lines import address
from tests.made_runs import make_runs
from tests.waiting import until

__all__ = ["address"]
pytestmark = pytest.mark.anyio
LATE = "user_logs/std_log_worker_1.txt"


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


@pytest.fixture
async def run(api: LiveApi) -> str:
    (run,) = await make_runs(api, 1)
    return run


@pytest.mark.parametrize("is_made_first", [False, True])
async def test_a_stream_that_comes_after_the_end_is_refused(
    api: LiveApi, run: str, is_made_first: bool
) -> None:
    (node,) = await start_nodes(api, run, 1)
    await node.send(b"in time\n", offset=0)
    await sealing.seal(api.database, api.objects, run)
    if is_made_first:
        assert (await node.send(b"", offset=0, stream=LATE)).status_code == 200

    answer = await node.send(b"late\n", offset=0, stream=LATE)

    assert (answer.status_code, answer.json()["code"]) == (409, "stream_sealed")
    assert (await api.client.get(f"runs/{run}/logs")).text == "in time\n"


async def test_bytes_that_come_while_the_log_is_sealed_are_refused_whole(
    api: LiveApi, run: str
) -> None:
    (node,) = await start_nodes(api, run, 1)
    await node.send(b"in time\n", offset=0)
    hashes = await sealing.store_streams(api.database, api.objects, run)
    async with api.database.session() as session:
        await sealing.mark_sealed(session, run, hashes)
        assert (await node.send(b"", offset=0, stream=LATE)).status_code == 200
        sending = asyncio.create_task(node.send(b"late\n", offset=0, stream=LATE))
        await until(lambda: _is_waited_for(session))

    answer = await sending
    assert (answer.status_code, answer.json()["code"]) == (409, "stream_sealed")
    assert (await api.client.get(f"runs/{run}/logs")).text == "in time\n"
    streams = (await api.client.get(f"runs/{run}/logs/streams")).json()["items"]
    assert [(stream["name"], stream["length_bytes"]) for stream in streams] == [
        ("", 8), (STDOUT, 8), (LATE, 0),
    ]  # fmt: skip


async def _is_waited_for(session: AsyncSession) -> bool:
    """Whether another transaction waits for this one."""
    waiting = "SELECT FROM pg_locks WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    return (await session.execute(text(waiting))).first() is not None


@pytest.mark.parametrize("form", ["text/plain", "application/x-ndjson", "text/event-stream"])
async def test_who_follows_a_log_that_is_deleted_is_let_go(
    api: LiveApi, run: str, address: str, form: str
) -> None:
    (node,) = await start_nodes(api, run, 1)
    await node.send(b"words\n", offset=0)
    url = f"{address}/v1/workspaces/{api.workspace}/runs/{run}/logs?follow=true"
    headers = {"Authorization": api.client.headers["Authorization"], "Accept": form}
    found = ""
    async with (
        asyncio.timeout(60),
        httpx2.AsyncClient(timeout=60) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        async for piece in answer.aiter_text():
            if "words" in piece and "words" not in found:
                async with api.database.session() as session:
                    await repository.delete_all(session, run)
                    signal(session, LOG_TOPIC, run)
            found += piece
    assert found.count("words") == 1


async def test_a_head_does_not_say_how_long_an_answer_is_that_is_not_made(
    api: LiveApi, run: str
) -> None:
    (node,) = await start_nodes(api, run, 1)
    await node.send(b"words\n", offset=0)

    for given in ("follow=true", "tail=1", "grep=w", "timestamps=true"):
        answer = await api.client.head(f"runs/{run}/logs?{given}")
        assert answer.status_code == 200
        assert "Content-Length" not in answer.headers
    whole = await api.client.head(f"runs/{run}/logs")
    assert whole.headers["Content-Length"] == "6"


@pytest.mark.parametrize("owner", ["runs/{run}", "images/{image}"])
@pytest.mark.parametrize("follow", ["true", "false"])
async def test_an_offset_that_no_log_has_is_refused(
    api: LiveApi, run: str, owner: str, follow: str
) -> None:
    image = (await api.client.get(f"runs/{run}")).json()["image_hash"]
    url = f"{owner.format(run=run, image=image)}/logs?offset={10**30}&follow={follow}"

    answer = await api.client.get(url)

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "offset_too_large")
