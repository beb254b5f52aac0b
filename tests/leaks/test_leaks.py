"""What nobody owns is shown, and removed after the grace period; what somebody owns stays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.providers.base import ProviderError
from app.providers.process.provider import ProcessProvider
from tests.live_api import LiveApi, live_api
from tests.waiting import until
from workers.collect_leaks import LeakCollector
from workers.process import RUNNER
from workers.regularly import regularly

pytestmark = pytest.mark.anyio
_URL = "http://api/v1/leaks"


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path / "data", postgres_url, broker_url) as live:
        yield live


def collector(api: LiveApi, *, grace_seconds: float) -> LeakCollector:
    provider = ProcessProvider(api.settings.data_dir / "nodes", runner=RUNNER)
    return LeakCollector(api.database, provider, grace_seconds=grace_seconds)


async def test_an_orphan_is_shown_and_then_removed(api: LiveApi) -> None:
    folder = api.settings.data_dir / "nodes" / "tw-nobody-a1-n0"
    folder.mkdir(parents=True)

    await collector(api, grace_seconds=300).look()

    shown = (await api.client.get(_URL)).json()["items"]
    assert [(leak["kind"], leak["name"], leak["provider"]) for leak in shown] == [
        ("node", "tw-nobody-a1-n0", "process")
    ]
    assert folder.exists()

    await collector(api, grace_seconds=0).look()

    assert not folder.exists()
    assert (await api.client.get(_URL)).json()["items"] == []


async def test_one_that_cannot_be_removed_does_not_keep_the_others(api: LiveApi) -> None:
    nodes = api.settings.data_dir / "nodes"
    for name in ("tw-first-a1-n0", "tw-second-a1-n0"):
        (nodes / name).mkdir(parents=True)
    provider = ProcessProvider(nodes, runner=RUNNER)
    remove = provider.remove

    async def refuse_first(name: str, *, host: str | None = None) -> None:
        if name == "tw-first-a1-n0":
            raise ProviderError("it is in use")
        await remove(name, host=host)

    provider.remove = refuse_first  # type: ignore[method-assign]
    looking = LeakCollector(api.database, provider, grace_seconds=0)
    await looking.look()

    assert [folder.name for folder in nodes.iterdir()] == ["tw-first-a1-n0"]
    shown = (await api.client.get(_URL)).json()["items"]
    assert [leak["name"] for leak in shown] == ["tw-first-a1-n0"]


async def test_what_went_by_itself_is_no_longer_shown(api: LiveApi) -> None:
    folder = api.settings.data_dir / "nodes" / "tw-nobody-a1-n0"
    folder.mkdir(parents=True)
    await collector(api, grace_seconds=300).look()
    folder.rmdir()

    await collector(api, grace_seconds=300).look()

    assert (await api.client.get(_URL)).json()["items"] == []


async def test_a_trouble_of_the_file_system_does_not_end_the_looking(api: LiveApi) -> None:
    nodes = api.settings.data_dir / "nodes"
    nodes.parent.mkdir(parents=True, exist_ok=True)
    nodes.write_text("no folder")
    look = collector(api, grace_seconds=300).look
    looking = asyncio.create_task(regularly(look, "leaks", every_seconds=0.05))
    try:
        await asyncio.wait([looking], timeout=1)
        assert not looking.done()
        nodes.unlink()
        (nodes / "tw-nobody-a1-n0").mkdir(parents=True)

        async def is_shown() -> bool:
            return bool((await api.client.get(_URL)).json()["items"])

        await until(is_shown)
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
