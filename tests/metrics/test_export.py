"""Exports of metrics as Parquet files: whole, a few at a time, and nothing of them is left."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx2
import pytest
from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.metrics import export, repository
from app.metrics.repository import Key, Wanted
from tests.live_api import LiveApi, live_api
from tests.made_runs import make_runs
from workers.collect_garbage import GarbageCollector

pytestmark = pytest.mark.anyio
PAGE_AFTER = "app.metrics.repository.page_after"
page_after = repository.page_after


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


@pytest.fixture
async def run(api: LiveApi) -> str:
    (run,) = await make_runs(api, 1)
    values = [{"name": "loss", "value": step / 7, "step": step} for step in range(100)]
    body = {"source": "a", "first_seq": 0, "values": values}
    assert (await api.client.post(f"runs/{run}/metrics", json=body)).status_code == 201
    return run


async def parquet(api: LiveApi, run: str, **headers: str) -> httpx2.Response:
    address = f"runs/{run}/metrics/export"
    return await api.client.get(address, params={"format": "parquet"}, headers=headers)


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=zz", "bytes=0-9", "bytes=0-1,3-4"])
async def test_an_export_comes_whole_whatever_part_is_asked_for(
    api: LiveApi, run: str, asked: str
) -> None:
    whole = await parquet(api, run)

    answer = await parquet(api, run, Range=asked)

    assert answer.status_code == 200
    assert answer.headers["accept-ranges"] == "none"
    assert answer.headers["content-length"] == str(len(answer.content)) == str(len(whole.content))
    assert (answer.content[:4], answer.content[-4:]) == (b"PAR1", b"PAR1")
    assert list(api.settings.data_dir.glob("export-*")) == []


async def test_an_export_whose_database_goes_away_says_so_and_leaves_nothing(
    api: LiveApi, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(session: AsyncSession, *given: Any) -> Sequence[Row[Any]]:
        await session.execute(select(func.pg_terminate_backend(func.pg_backend_pid())))
        return await page_after(session, *given)

    monkeypatch.setattr(PAGE_AFTER, lost)

    answer = await parquet(api, run)

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert list(api.settings.data_dir.glob("export-*")) == []


async def test_a_few_exports_are_made_at_a_time_and_hold_no_thread_of_others(
    api: LiveApi, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Key] = []
    are_full = asyncio.Event()
    may_go_on = asyncio.Event()

    async def held(
        session: AsyncSession, key: Key, wanted: Wanted, after: Sequence[Any] | None
    ) -> Sequence[Row[Any]]:
        if not may_go_on.is_set():
            made.append(key)
            if len(made) == export._AT_ONCE:
                are_full.set()
            await may_go_on.wait()
        return await page_after(session, key, wanted, after)

    monkeypatch.setattr(PAGE_AFTER, held)
    exports = [asyncio.create_task(parquet(api, run)) for _ in range(export._AT_ONCE + 2)]
    async with asyncio.timeout(30):
        await are_full.wait()

    others = anyio.to_thread.current_default_thread_limiter()
    assert others.borrowed_tokens < export._AT_ONCE
    may_go_on.set()
    answers = await asyncio.gather(*exports)
    assert [answer.status_code for answer in answers] == [200] * len(exports)
    assert len(made) == export._AT_ONCE


async def test_files_that_a_crash_left_go_with_the_regular_collection(api: LiveApi) -> None:
    folder = api.settings.data_dir
    old, young, other = (folder / f"{name}.parquet" for name in ("export-a", "export-b", "c"))
    for path in (old, young, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (0, 0))

    await GarbageCollector(api.database, api.objects, settings=api.settings).collect()

    assert [path.exists() for path in (old, young, other)] == [False, True, True]
