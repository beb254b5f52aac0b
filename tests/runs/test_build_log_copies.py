"""A run's log has the output of every build that it waited for, once and in order."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Table

from app.environments import repository as images
from app.environments.service import BUILD_LOG, build_log_owner
from app.kernel import leases
from app.logs import sealing
from app.logs import service as logs
from app.logs.service import LogReader
from app.tables.image import Image
from app.tables.run import Run
from app.workspaces import repository as workspaces
from tests.environments.test_images import add_run
from tests.live_api import LiveApi, live_api
from workers.build_log_copies import BUILD_STREAM, BuildLogCopies
from workers.reconciler import Guard

pytestmark = pytest.mark.anyio
FIRST, SECOND, OLDER = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


class Copying:
    """A run, and what its worker does about builds."""

    def __init__(self, api: LiveApi, run_id: str, guard: Guard) -> None:
        self._api = api
        self._run_id = run_id
        self._guard = guard

    async def say(self, image_id: str, build: int, text: bytes) -> None:
        """Have a build print something."""
        async with self._api.database.session() as session:
            await logs.append(session, build_log_owner(image_id, build), BUILD_LOG, text)

    async def copied(self, image_id: str, build: int, state: str = "Building") -> str:
        """What the run's log is when its worker has looked at the image in this state."""
        async with self._api.database.session() as session:
            image = await session.get_one(Image, image_id)
            image.state, image.build_number = state, build
        async with self._api.database.session() as session:
            run = await session.get_one(Run, self._run_id)
        await BuildLogCopies(self._api.database, self._api.objects).copy(self._guard, run, image)
        reader = LogReader(
            self._api.database, self._api.objects, owner=self._run_id, attempt=1, name=BUILD_STREAM
        )
        return b"".join([piece async for piece in reader.read(0)]).decode()


async def copying(api: LiveApi, *image_ids: str) -> Copying:
    async with api.database.session() as session:
        workspace = await workspaces.get(session, api.workspace)
        for image_id in image_ids:
            await images.add_image(session, workspace.id, image_id, {})
    run_id = await add_run(api, image_ids[0])
    table = cast("Table", Run.__table__)
    async with api.database.session() as session:
        lease = await leases.acquire(session, table, row_id=run_id, seconds=60)
    assert lease is not None
    return Copying(api, run_id, Guard(api.database, table, lease))


async def test_builds_one_after_the_other(api: LiveApi) -> None:
    run = await copying(api, FIRST, SECOND)
    await run.say(FIRST, 1, b"one\n")
    assert await run.copied(FIRST, 1) == "one\n"
    assert await run.copied(FIRST, 1) == "one\n", "nothing twice"
    await run.say(FIRST, 1, b"two, and its worker dies\n")
    await sealing.seal(api.database, api.objects, build_log_owner(FIRST, 1))
    await run.say(FIRST, 2, b"three\n")
    so_far = "one\ntwo, and its worker dies\nthree\n"
    assert await run.copied(FIRST, 2) == so_far
    await run.say(FIRST, 2, b"four\n")
    await run.say(SECOND, 1, b"of the image that took its place\n")
    so_far += "four\nof the image that took its place\n"
    assert await run.copied(SECOND, 1) == so_far
    await run.say(SECOND, 1, b"five\n")
    assert await run.copied(SECOND, 1, "Ready") == so_far + "five\n"
    assert await run.copied(SECOND, 1, "Ready") == so_far + "five\n"


async def test_a_finished_image_is_said_to_be_there(api: LiveApi) -> None:
    run = await copying(api, OLDER)
    await run.say(OLDER, 1, b"long ago\n")
    expected = f"Environment {OLDER[:12]} is built already; nothing to build.\n"
    assert await run.copied(OLDER, 1, "Ready") == expected
    assert await run.copied(OLDER, 1, "Ready") == expected
