"""Logs of deployments lose their oldest lines, and go after their deployment."""

import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.garbage import service as garbage
from app.kernel.ids import new_id
from app.logs import repository
from app.logs import service as logs
from app.logs.timed import TimedReader
from app.model_captures.order import node_name
from app.tables.deployment import Deployment
from app.tables.log import LogChunk, LogStream
from app.tables.model import ModelCapture
from tests.deployments.test_faults import World, world
from tests.waiting import until
from workers.expire_logs import LogExpiry

__all__ = ["world"]
pytestmark = pytest.mark.anyio
STDOUT = "user_logs/std_log.txt"
OLD, NEW = b"old\n" * 1000, b"new one\nnew two\n"


@dataclass
class Service:
    """A deployment of one replica, whose log the test sends."""

    world: World
    id: str
    node: str = ""
    length_bytes: int = 0

    @property
    def path(self) -> str:
        return "deployments/logged/logs"

    async def print(self, data: bytes) -> None:
        sent = await self.world.api.client.post(
            "http://api/v1/node/logs",
            params={"stream": STDOUT, "offset": self.length_bytes},
            content=data,
            headers={"Authorization": f"Bearer {self.world.fake.specs[self.node].token}"},
        )
        assert sent.status_code == 200, sent.text
        self.length_bytes += len(data)

    async def get(self, headers: dict[str, str] | None = None, **params: Any) -> Any:
        return await self.world.api.client.get(self.path, params=params, headers=headers or {})

    async def age(self, days: float) -> None:
        """What was printed until now was printed so long ago."""
        async with self.world.api.database.session() as session:
            ago = func.clock_timestamp() - timedelta(days=days)
            await session.execute(
                update(LogChunk).where(LogChunk.owner == self.id).values(created_at=ago)
            )

    async def keep(self, days: int | None) -> None:
        """Have the workspace keep logs for so long, and what is ripe go."""
        url = f"http://api/v1/workspaces/{self.world.api.workspace}"
        changed = await self.world.api.client.patch(url, json={"log_retention_days": days})
        assert changed.status_code == 200, changed.text
        await LogExpiry(self.world.api.database).look()

    async def rows(self) -> tuple[int, list[LogStream]]:
        """How many pieces lie in the database, and the streams."""
        async with self.world.api.database.session() as session:
            count = select(func.count()).where(LogChunk.owner == self.id)
            streams = await repository.list_streams(session, self.id)
            return (await session.execute(count)).scalar_one(), list(streams)


@pytest.fixture
async def service(world: World) -> Service:
    row_id = new_id("dep")
    async with world.api.database.session() as session:
        other = await session.get_one(Deployment, world.deployment_id)
        session.add(
            Deployment(
                id=row_id, workspace_id=other.workspace_id, name="logged", replica_count=1,
                model_version_id=other.model_version_id, image_id=other.image_id,
                resource_configuration=other.resource_configuration,
            )
        )  # fmt: skip
    service = Service(world, row_id, f"tw-{row_id}-g1-r0-1")

    async def is_started() -> bool:
        return service.node in world.fake.specs

    await until(is_started)
    return service


async def test_the_oldest_lines_go_and_places_stay_what_they_were(service: Service) -> None:
    await service.print(OLD)
    await service.age(8)
    await service.print(NEW)
    await service.keep(None)
    assert (await service.get()).content == OLD + NEW
    await service.keep(9)
    assert (await service.get()).content == OLD + NEW

    await service.keep(7)

    assert (await service.rows())[0] == 1
    whole = await service.get()
    assert (whole.content, whole.headers["log-first-byte"]) == (NEW, str(len(OLD)))
    assert (await service.get(offset=len(OLD) + 8)).content == b"new two\n"
    part = await service.get({"Range": f"bytes=0-{len(OLD) + 7}"})
    ends = f"bytes {len(OLD)}-{len(OLD) + 7}/{len(OLD) + len(NEW)}"
    assert (part.content, part.headers["content-range"]) == (b"new one\n", ends)
    gone = await service.get({"Range": "bytes=0-9"})
    assert (gone.status_code, gone.headers["content-range"]) == (416, f"bytes */{len(OLD + NEW)}")
    for given in ({"tail": 9}, {"since": "2025-01-01T00:00:00Z"}, {"grep": "new"}):
        assert (await service.get(**given)).text.splitlines() == ["new one", "new two"]
    records = await service.get({"Accept": "application/x-ndjson"})
    found = [json.loads(line) for line in records.text.splitlines()]
    assert [each["offset"] for each in found] == [len(OLD), len(OLD) + 8]
    assert (await service.get(after=found[0]["id"])).text == "new two\n"

    await service.print(b"newest\n")
    assert (await service.get(tail=1)).text == "newest\n"
    await service.age(8)
    await service.keep(7)
    assert (await service.get()).content == b""
    assert (await service.get(tail=3)).content == b""
    await service.print(b"later\n")
    assert (await service.get()).content == b"later\n"
    assert (await service.get(tail=3)).content == b"later\n"


async def test_the_id_of_a_line_is_not_longer_for_streams_that_are_gone(service: Service) -> None:
    await service.print(OLD)
    await service.age(8)
    async with service.world.api.database.session() as session:
        await logs.append(session, service.id, STDOUT, NEW, attempt=2, offset=0, times=[])
    ndjson = {"Accept": "application/x-ndjson"}

    def ids(answer: Any) -> list[str]:
        return [json.loads(line)["id"] for line in answer.text.splitlines()]

    before = ids(await service.get(ndjson))[-1]
    await service.keep(7)
    new, newest = ids(await service.get(ndjson))

    assert (before.count(":"), newest.count(":")) == (2, 1)
    assert (await service.get(after=new)).text == "new two\n"
    await service.print(b"later\n")
    assert (await service.get(after=newest)).text == "later\n"
    assert (await service.get(after=before)).text == "later\n"


async def test_the_streams_of_starts_that_are_gone_go_with_their_last_bytes(
    service: Service,
) -> None:
    ndjson = {"Accept": "application/x-ndjson"}
    async with service.world.api.database.session() as session:
        for start in (1, 2, 3):  # of an earlier generation, of which nothing is left
            await logs.append(session, service.id, STDOUT, OLD, attempt=start, offset=0)
    await service.print(OLD)
    last = json.loads((await service.get(ndjson, tail=1)).text)["id"]
    await service.age(8)
    async with service.world.api.database.session() as session:
        await logs.append(session, service.id, STDOUT, NEW, attempt=3, offset=len(OLD))

    await service.keep(7)

    _, streams = await service.rows()
    assert [(one.attempt, one.name) for one in streams] == [
        (0, ""), (3, STDOUT), (1_000_000_001, STDOUT)
    ]  # fmt: skip
    found = (await service.get(ndjson, after=last)).text.splitlines()
    assert [json.loads(line)["text"] for line in found] == ["new one", "new two"]
    assert last.count(":") == 4
    assert json.loads(found[-1])["id"].count(":") == 1
    assert (await service.get()).content == NEW
    await service.print(b"later\n")
    assert (await service.get(tail=1)).text == "later\n"


async def test_followers_read_to_the_end_of_a_log_that_goes_with_its_deployment(
    service: Service,
) -> None:
    api = service.world.api
    await service.print(OLD)
    await service.age(8)
    await service.print(NEW)
    await service.keep(7)
    following = asyncio.create_task(service.get(follow="true"))
    reader = logs.LogReader(api.database, api.objects, owner=service.id)
    lines = asyncio.create_task(service.get({"Accept": "text/event-stream"}))
    await service.print(b"last\n")

    assert (await api.client.delete("deployments/logged")).status_code == 202

    assert (await following).content == NEW + b"last\n"
    assert "new two" in (await lines).text
    sealed = b"".join([piece async for piece in reader.read(0)])
    assert sealed == NEW + b"last\n"
    pieces = [piece async for piece in reader.read(len(OLD) + 8, len(OLD) + 12)]
    assert b"".join(pieces) == b"new "
    count, streams = await service.rows()
    assert (count, len(streams)) == (0, 2)
    timed = TimedReader(api.database, api.objects, streams[1])
    found = [(offset, data) async for offset, data, _ in timed.pieces(0)]
    assert found == [(len(OLD), NEW + b"last\n")]
    assert await timed.last_lines_offset(100) == len(OLD)
    digests = [str(stream.sha256) for stream in streams]

    await service.keep(None)
    await garbage.collect(api.database, api.objects, unused_for_seconds=0)
    assert [await api.objects.exists(digest) for digest in digests] == [False, False]
    await a_day_later(world=service.world, owner=service.id)
    assert await service.rows() == (0, [])


async def test_what_a_model_printed_while_it_was_loaded_goes_with_its_node(world: World) -> None:
    capture_id = new_id("capture")
    async with world.api.database.session() as session:
        capture = ModelCapture(
            id=capture_id, model_version_id=f"{world.deployment_id}-1", state="Running",
            node_name=node_name(capture_id, 1),
        )  # fmt: skip
        session.add(capture)
        await logs.append(session, capture_id, STDOUT, b"loading\n")
    service = Service(world, capture_id)
    await LogExpiry(world.api.database).look()
    await a_day_later(world, capture_id)
    assert (await service.rows())[0] == 1

    async with world.api.database.session() as session:
        row = await session.get_one(ModelCapture, capture_id)
        row.state, row.node_name = "Captured", None
    await LogExpiry(world.api.database).look()
    await a_day_later(world, capture_id)
    assert await service.rows() == (0, [])


async def a_day_later(world: World, owner: str) -> None:
    """Look again when the bytes of what has no owner have been gone for so long."""
    async with world.api.database.session() as session:
        gone = update(LogStream).where(LogStream.owner == owner, LogStream.expired_at.is_not(None))
        ago = func.clock_timestamp() - timedelta(days=1, minutes=1)
        await session.execute(gone.values(expired_at=ago))
    await LogExpiry(world.api.database).look()
