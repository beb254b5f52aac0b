"""What captures do when workers, nodes and providers fail them; nodes are entries in memory."""

import hashlib
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, text, update

from app.environments.repository import is_in_use
from app.kernel.clock import utc_now
from app.kernel.signals import Signals
from app.kernel.wake import wake
from app.leaks import repository as leaks
from app.model_captures.decide import MOST_STARTS, REPORT_PATH, WHOLE_SECONDS
from app.models import service as models
from app.models.schemas import Lineage, ModelDescription, ModelFile
from app.models.service import add_version
from app.providers.base import Capacity, NodeRefused, ProviderError
from app.providers.fake.faults import Fault, Verb
from app.providers.fake.provider import FakeProvider
from app.tables.image import Image
from app.tables.model import ModelCapture, ModelVersion
from app.tables.workspace import Workspace
from tests.databases import own_database
from tests.live_api import LiveApi, live_api
from tests.model_captures.test_decide import GOOD, REPORT
from tests.waiting import until
from workers.context import WorkerContext
from workers.reconcile_model import ModelReconciler
from workers.reconcile_model_capture import ModelCaptureReconciler

pytestmark = pytest.mark.anyio
TENSORFLOW = {
    "framework": "tensorflow",
    "framework_version": "2.21",
    "python_version": "3.11",
}
_AWAY = ProviderError("the engine is away")


@dataclass
class World:
    """An installation whose nodes are entries in the memory of a fake provider."""

    api: LiveApi
    fake: FakeProvider

    async def register(self, name: str, *, image_state: str = "Ready") -> str:
        """Register a Keras model that a run made; the id of its capture."""
        async with self.api.database.session() as session:
            image = f"image-{uuid.uuid4().hex}"
            spec = TENSORFLOW
            session.add(Image(id=image, spec=spec, state=image_state, python=sys.executable))
            workspace = (await session.scalars(select(Workspace))).one()
            _, row = await add_version(
                session,
                workspace=workspace,
                name=name,
                about=ModelDescription(),
                files=[ModelFile(path="model.keras", sha256="0" * 64, size_bytes=1)],
                lineage=Lineage(image_hash=image),
                actor="test",
            )
            found = select(ModelCapture.id).where(ModelCapture.model_version_id == row.id)
            return (await session.scalars(found)).one()

    async def node(self, capture: str, start: int = 1) -> str:
        """The name of the node once it is there."""
        name = f"tw-{capture}-{start}"

        async def is_there() -> bool:
            return name in self.fake.specs

        await until(is_there, seconds=60)
        return name

    async def say(self, node: str, path: str, body: Any, *, method: str = "POST") -> int:
        headers = {"Authorization": f"Bearer {self.fake.specs[node].token}"}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer: httpx2.Response = await self.api.client.request(
            method, f"http://api/v1/node/{path}", content=content,
            headers={**headers, "Content-Type": "application/json"},
        )  # fmt: skip
        return answer.status_code

    async def report(self, node: str, report: Any) -> None:
        """Let the node end well, with this report."""
        data = json.dumps(report).encode()
        digest = hashlib.sha256(data).hexdigest()
        assert await self.say(node, f"blobs/{digest}", data, method="PUT") == 201
        ended = {"event": "exited", "processes": [{"stream": "capture.txt", **GOOD}]}
        assert await self.say(node, "events", ended) == 200
        file = {"path": REPORT_PATH, "sha256": digest, "size_bytes": len(data)}
        assert await self.say(node, "outputs", {"files": [file]}) in (200, 410)

    async def version(self, name: str, until_: Callable[[Any], object]) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        async def is_so() -> bool:
            seen.update((await self.api.client.get(f"models/{name}/versions/1")).json())
            return bool(until_(seen))

        await until(is_so, seconds=60)
        return seen


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    fake = FakeProvider(capacity=Capacity(cores=64.0, memory_bytes=2**40, gpus=0))

    def reconcilers(app: Any) -> list[Any]:
        state = app.state
        context = WorkerContext(
            settings=state.settings, database=state.database, objects=state.objects,
            signals=Signals(), signer=state.signer, provider=fake,
        )  # fmt: skip
        return [ModelReconciler(context), ModelCaptureReconciler(context)]

    async with (
        own_database(postgres_url) as database,
        live_api(
            tmp_path, database, broker_url, reconcilers=reconcilers, model_captures_at_once=2
        ) as api,
    ):
        yield World(api, fake)


def is_over(version: Any) -> bool:
    return version["capture"]["state"] in ("Captured", "Failed")


async def gone(world: World) -> None:
    async def is_so() -> bool:
        async with world.api.database.session() as session:
            held = await session.scalars(select(ModelCapture.node_name))
            return not world.fake.specs and not any(held)

    await until(is_so, seconds=60)


async def test_a_report_becomes_signature_and_sample_and_the_node_goes(world: World) -> None:
    node = await world.node(await world.register("plain"))
    spec = world.fake.specs[node]
    before = await world.version("plain", lambda seen: seen["capture"]["state"] == "Running")
    async with world.api.database.session() as session:
        assert ("node", node) in await leaks.owned(session)

    await world.report(node, REPORT)

    after = await world.version("plain", is_over)
    assert (before["signature_state"], before["signature"]) == ("Pending", None)
    assert (spec.cores, spec.memory_bytes, spec.gpus) == (1.0, 2 * 1024**3, 0)
    assert after["capture"]["state"] == "Captured"
    assert after["capture"]["runtime"] == "onnxruntime 1.17"
    assert (after["signature_state"], after["signature"]) == ("Ready", REPORT["signature"])
    sample = (await world.api.client.get("models/plain/versions/1/sample")).json()
    assert (sample["outputs"], sample["is_given"]) == ({"y": [3.0]}, False)
    await gone(world)


async def test_a_sample_that_was_given_is_kept(world: World) -> None:
    node = await world.node(await world.register("given"))
    body = {"inputs": {"x": [[7.0, 7.0]]}, "outputs": {"y": [14.0]}}
    put = await world.api.client.put("models/given/versions/1/sample", json=body)

    await world.report(node, REPORT)

    await world.version("given", is_over)
    sample = (await world.api.client.get("models/given/versions/1/sample")).json()
    assert put.status_code == 201
    assert (sample["outputs"], sample["is_given"]) == (body["outputs"], True)


async def test_a_broken_model_stays_registered_and_says_so(world: World) -> None:
    node = await world.node(await world.register("broken"))
    ended = {**GOOD, "stream": "capture.txt", "exit_code": None, "signal": 11}

    assert await world.say(node, "events", {"event": "exited", "processes": [ended]}) == 200

    version = await world.version("broken", is_over)
    assert version["capture"]["state"] == "Failed"
    assert version["capture"]["error"]["code"] == "capture_exited"
    assert version["capture"]["error"]["last_lines"] == ["a line"]
    assert version["signature_state"] == "Unavailable"
    assert (await world.api.client.get("models/broken/versions/1/sample")).status_code == 404
    await gone(world)


async def test_a_model_without_a_fit_sample_has_its_signature(world: World) -> None:
    node = await world.node(await world.register("dice"))
    error = {"code": "answers_differ", "message": "y[0] is 4, stored is 3"}

    await world.report(node, {**REPORT, "sample": None, "error": error})

    version = await world.version("dice", is_over)
    assert version["capture"]["error"] == {**error, "last_lines": ["a line"]}
    assert version["signature"] == REPORT["signature"]


async def test_a_worker_that_dies_after_the_start_leaves_one_node(world: World) -> None:
    world.fake.faults.add(Fault(Verb.ENSURE, error=_AWAY, is_carried_out=True))

    node = await world.node(await world.register("killed"))
    await world.version("killed", lambda seen: seen["capture"]["state"] == "Running")

    assert list(world.fake.specs) == [node]
    await world.report(node, REPORT)
    assert (await world.version("killed", is_over))["capture"]["state"] == "Captured"


async def test_a_node_that_has_reported_is_not_started_again(world: World) -> None:
    world.fake.faults.add(Fault(Verb.ENSURE, error=_AWAY, is_carried_out=True))
    node = await world.node(await world.register("swift"))

    await world.report(node, REPORT)

    assert (await world.version("swift", is_over))["capture"]["state"] == "Captured"
    assert world.fake.faults.calls[Verb.ENSURE] == 1


async def test_an_end_that_is_written_while_a_version_is_read_is_seen_whole(world: World) -> None:
    capture_id = await world.register("half", image_state="Queued")
    async with world.api.database.session() as reading:
        capture = await reading.get_one(ModelCapture, capture_id)
        version = await reading.get_one(ModelVersion, capture.model_version_id)
        reading.expunge(capture)
        async with world.api.database.session() as writing:
            ended = await writing.get_one(ModelCapture, capture_id)
            ended.state, ended.ended_at = "Captured", utc_now()
            found = await writing.get_one(ModelVersion, version.id)
            found.signature_state = "Ready"
        shown = await models.read(reading, "half", version)

    assert shown.capture is not None
    assert (shown.capture.state, shown.signature_state) == ("Captured", "Ready")


async def test_a_lost_node_is_replaced_and_given_up_in_the_end(world: World) -> None:
    capture = await world.register("lost")

    for start in range(1, MOST_STARTS + 1):
        node = await world.node(capture, start)
        await world.version("lost", lambda seen: seen["capture"]["state"] == "Running")
        world.fake.lose(node)

    version = await world.version("lost", is_over)
    assert version["capture"]["error"]["code"] == "node_lost"
    await gone(world)


async def test_a_node_that_is_refused_is_told_in_the_providers_words(world: World) -> None:
    world.fake.faults.add(Fault(Verb.ENSURE, error=NodeRefused("no such runtime"), times=None))

    await world.register("refused")

    version = await world.version("refused", is_over)
    assert version["capture"]["error"]["code"] == "node_start_failed"
    assert "no such runtime" in version["capture"]["error"]["message"]


async def test_an_environment_that_goes_before_the_start_is_waited_for(world: World) -> None:
    world.fake.faults.add(Fault(Verb.ENSURE, error=_AWAY))
    capture = await world.register("unbuilt")

    async def is_named() -> bool:
        async with world.api.database.session() as session:
            return (await session.get_one(ModelCapture, capture)).node_name is not None

    await until(is_named, seconds=60)
    async with world.api.database.session() as session:
        row = await session.get_one(ModelCapture, capture)
        image = await session.get_one(Image, row.image_id)
        assert await is_in_use(session, image.id)
        image.state, image.reference = "Queued", None
    await gone(world)
    async with world.api.database.session() as session:
        row = await session.get_one(ModelCapture, capture)
        (await session.get_one(Image, row.image_id)).state = "Ready"

    await world.report(await world.node(capture, 2), REPORT)

    assert (await world.version("unbuilt", is_over))["capture"]["state"] == "Captured"


async def test_a_start_that_never_comes_about_gives_its_turn_back(world: World) -> None:
    world.fake.faults.add(Fault(Verb.ENSURE, error=_AWAY, times=None))
    capture = await world.register("never")

    async def is_asked_for() -> bool:
        return world.fake.faults.calls[Verb.ENSURE] > 0

    await until(is_asked_for, seconds=60)
    async with world.api.database.session() as session:
        row = await session.get_one(ModelCapture, capture)
        row.started_at = utc_now() - timedelta(seconds=WHOLE_SECONDS + 60)

    version = await world.version("never", is_over)
    assert version["capture"]["error"]["code"] == "node_start_failed"
    assert "the engine is away" in version["capture"]["error"]["message"]
    await gone(world)


async def test_a_few_at_a_time_are_captured_and_the_next_follow(world: World) -> None:
    captures = [await world.register(f"many-{number}") for number in range(4)]

    async def has_turns() -> bool:
        return len(world.fake.specs) == 2

    # Whichever they are: all are due at once.
    await until(has_turns, seconds=60)
    first = set(world.fake.specs)
    following = [capture for capture in captures if f"tw-{capture}-1" not in first]
    assert len(following) == 2

    for node in first:
        await world.report(node, REPORT)

    assert first.isdisjoint([await world.node(capture) for capture in following])


async def test_a_deleted_version_disowns_its_node(world: World) -> None:
    node = await world.node(await world.register("deleted"))

    deleted = await world.api.client.delete("models/deleted/versions/1")

    assert deleted.status_code == 204
    assert await world.say(node, "heartbeat", {"phase": "running"}) == 410
    assert await world.say(node, "logs?stream=capture.txt&offset=0", b"words") == 410
    async with world.api.database.session() as session:
        assert ("node", node) not in await leaks.owned(session)


@pytest.mark.fault(10)
async def test_a_capture_that_cannot_be_looked_at_says_so_until_it_can(world: World) -> None:
    capture = await world.register("odd")
    node = await world.node(capture)
    await world.version("odd", lambda seen: seen["capture"]["state"] == "Running")
    damaged = update(ModelCapture).where(ModelCapture.id == capture)
    async with world.api.database.session() as session:
        await session.execute(damaged.values(result=text("'5'")))
        await wake(session, ModelCapture, capture)

    shown = await world.version("odd", lambda seen: seen["capture"]["error"])

    assert shown["capture"]["state"] == "Running"
    assert shown["capture"]["error"]["code"] == "reconcile_failed"
    assert "AttributeError" in shown["capture"]["error"]["message"]
    async with world.api.database.session() as session:
        await session.execute(damaged.values(result={}))
    await world.version("odd", lambda seen: seen["capture"]["error"] is None)
    await world.report(node, REPORT)
    after = await world.version("odd", is_over)
    assert (after["capture"]["state"], after["capture"]["error"]) == ("Captured", None)
