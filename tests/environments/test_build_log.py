"""The log of a build, while the database is not always there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Table
from sqlalchemy.exc import OperationalError

from app.environments import repository as images
from app.environments.built import BuiltImage
from app.environments.service import BUILD_LOG, build_log_owner
from app.kernel import leases
from app.kernel.db import Database
from app.logs.service import LogReader
from app.tables.image import Image
from app.workspaces import repository as workspaces
from tests.live_api import LiveApi, live_api
from tests.waiting import until
from workers.build_log import BuildLog
from workers.reconciler import Guard

pytestmark = pytest.mark.anyio
_IMAGE = "d" * 64


class Outage:
    """A database that can be away."""

    def __init__(self, database: Database) -> None:
        self.is_away = False
        self.refused = 0
        self._database = database

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Any]:
        if self.is_away:
            self.refused += 1
            raise OperationalError("BEGIN", {}, OSError("connection refused"))
        async with self._database.session() as session:
            yield session


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


async def test_a_build_goes_on_through_an_outage_of_the_database(api: LiveApi) -> None:
    table = cast("Table", Image.__table__)
    async with api.database.session() as session:
        workspace = await workspaces.get(session, api.workspace)
        await images.add_image(session, workspace.id, _IMAGE, {})
    async with api.database.session() as session:
        lease = await leases.acquire(session, table, row_id=_IMAGE, seconds=60)
    assert lease is not None
    outage = Outage(api.database)
    owner = build_log_owner(_IMAGE, 1)
    log = BuildLog(cast("Database", outage), Guard(api.database, table, lease), owner)
    built = BuiltImage(
        python=Path("python"), python_version="3.11", lock="", packages={}, size_bytes=0,
        build_seconds=0.0, reference="",
    )  # fmt: skip
    may_end = asyncio.Event()

    async def build() -> BuiltImage:
        await log.write(b"first\n")
        await may_end.wait()
        await log.write(b"second\n")
        return built

    async def was_refused() -> bool:
        return outage.refused > 0

    outage.is_away = True
    building = asyncio.create_task(log.during(asyncio.create_task(build())))
    await until(was_refused)
    outage.is_away = False
    may_end.set()

    assert await building is built
    reader = LogReader(api.database, api.objects, owner=owner, attempt=1, name=BUILD_LOG)
    assert b"".join([piece async for piece in reader.read(0)]) == b"first\nsecond\n"
