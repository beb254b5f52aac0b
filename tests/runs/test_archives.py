"""Archives of runs that end meanwhile."""

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.logs import sealing
from app.tables.run import RunFile
from tests.live_api import LiveApi, live_api
from tests.logs.nodes import STDOUT, start_nodes
from tests.made_runs import make_runs
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


@pytest.mark.parametrize("table", ["run_files", "log_streams"])
async def test_a_log_that_is_sealed_while_an_archive_begins_is_in_it_once(
    api: LiveApi, table: str
) -> None:
    (run,) = await make_runs(api, 1)
    (node,) = await start_nodes(api, run, 1)
    await node.send(b"words\n", offset=0)
    hashes = await sealing.store_streams(api.database, api.objects, run)
    async with api.database.session() as session:
        await session.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        asking = asyncio.create_task(api.client.get(f"runs/{run}/archive?prefix=user_logs/"))
        await until(lambda: _is_waited_for(session, table))
        for stream in await sealing.mark_sealed(session, run, hashes):
            if stream.name:
                file = {"run_id": run, "path": stream.name, "sha256": stream.sha256}
                more = {"size_bytes": stream.length_bytes, "origin": "log", "attempt": 1}
                await session.execute(insert(RunFile).values({**file, **more}))

    answer = await asking
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert archive.getnames() == [STDOUT]
        member = archive.extractfile(STDOUT)
        assert member is not None
        assert member.read() == b"words\n"


async def _is_waited_for(session: AsyncSession, table: str) -> bool:
    waiting = "SELECT FROM pg_locks WHERE relation = to_regclass(:table) AND NOT granted"
    return (await session.execute(text(waiting), {"table": table})).first() is not None
