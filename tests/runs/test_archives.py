"""Archives of a run's files: what is under a prefix, and what is said where there is nothing."""

import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.live_api import LiveApi, live_api
from tests.logs.nodes import STDOUT, start_nodes
from tests.made_runs import make_runs

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


@pytest.fixture
async def run(api: LiveApi) -> str:
    (run,) = await make_runs(api, 1)
    return run


async def names(api: LiveApi, run: str, query: str) -> list[str]:
    answer = await api.client.get(f"runs/{run}/archive{query}")
    assert answer.status_code == 200, answer.text
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        return archive.getnames()


async def test_a_prefix_under_which_there_is_nothing_is_named(api: LiveApi, run: str) -> None:
    (node,) = await start_nodes(api, run, 1)
    await node.print((0, "hello"))
    sent = await api.client.put(f"runs/{run}/files/outputs/model/a.txt", content=b"a")
    assert sent.status_code == 201, sent.text

    for method in ("GET", "HEAD"):
        absent = await api.client.request(method, f"runs/{run}/archive?prefix=outputs/modle/")
        assert absent.status_code == 404
    said = (await api.client.get(f"runs/{run}/archive?prefix=outputs/modle/")).json()
    assert said["code"] == "prefix_not_found"
    assert "'outputs/modle/'" in said["detail"]
    assert [error["pointer"] for error in said["errors"]] == ["query/prefix"]
    assert await names(api, run, "?prefix=outputs/model/") == ["outputs/model/a.txt"]
    assert await names(api, run, "?prefix=user_logs/") == [STDOUT]  # it still grows


async def test_without_a_prefix_there_may_be_nothing(api: LiveApi, run: str) -> None:
    assert await names(api, run, "") == []
    assert await names(api, run, "?prefix=") == []
