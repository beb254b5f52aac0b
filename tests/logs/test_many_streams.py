"""Logs of very many streams: what reading them takes."""

import json
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.logs import sealing, service
from app.logs.cursors import Cursor
from tests.live_api import LiveApi, live_api
from tests.made_runs import make_runs

pytestmark = pytest.mark.anyio
STREAMS = 150
NDJSON = {"Accept": "application/x-ndjson"}


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


@pytest.fixture
async def run(api: LiveApi) -> str:
    """A run of many processes, each of which printed two lines."""
    (run,) = await make_runs(api, 1)
    async with api.database.session() as session:
        for rank in range(STREAMS):
            name = f"user_logs/std_log_worker_{rank}.txt"
            data = b"first of %d\nlast of %d\n" % (rank, rank)
            await service.append(
                session, run, name, data, times=[(0, 1000), (len(data) // 2, 2000)]
            )
    return run


@contextmanager
def few_more_files(count: int) -> Iterator[None]:
    """This process may open only so many more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_sealed_log_of_many_streams_is_read_with_few_open_files(
    api: LiveApi, run: str
) -> None:
    await sealing.seal(api.database, api.objects, run)

    with few_more_files(STREAMS // 3):
        last = await api.client.get(f"runs/{run}/logs", params={"tail": 5})
        found = await api.client.get(f"runs/{run}/logs", params={"grep": "first"})

    assert len(last.text.splitlines()) == 5
    assert len(found.text.splitlines()) == STREAMS


class CountedCursor(Cursor):
    """Counts how often the id of a line is made."""

    made = 0

    def text(self) -> str:
        CountedCursor.made += 1
        return super().text()


async def test_ids_are_made_of_those_lines_only_that_are_shown_with_one(
    api: LiveApi, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.logs.view.Cursor", CountedCursor)
    monkeypatch.setattr(CountedCursor, "made", 0)

    plain = await api.client.get(f"runs/{run}/logs", params={"timestamps": True})
    assert len(plain.text.splitlines()) == 2 * STREAMS
    assert CountedCursor.made == 0

    last = await api.client.get(f"runs/{run}/logs?tail=5&grep=last", headers=NDJSON)
    assert len(last.text.splitlines()) == 5
    assert CountedCursor.made == 5


@pytest.mark.parametrize("given", [{}, {"tail": 7}, {"grep": "last"}, {"tail": 7, "grep": "last"}])
async def test_reading_goes_on_after_any_of_the_last_lines(
    api: LiveApi, run: str, given: dict[str, Any]
) -> None:
    async def records(**more: str) -> list[dict[str, Any]]:
        params = {**given, **more}
        answer = await api.client.get(f"runs/{run}/logs", params=params, headers=NDJSON)
        return [json.loads(line) for line in answer.text.splitlines()]

    last = (await records())[-7:]
    assert len(last) == 7
    for index, record in enumerate(last):
        rest = await records(after=record["id"])
        assert [line["text"] for line in rest] == [line["text"] for line in last[index + 1 :]]
