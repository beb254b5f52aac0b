"""Large files of a node over connections that break: what has come is not sent again."""

import asyncio
import hashlib
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.tables.image import Image
from app.tables.run import Run
from tests.client.door import Door
from tests.logs.nodes import start_nodes
from tests.made_runs import make_runs
from tests.served import Served, served_api
from workers.runner import outputs
from workers.runner.api import Endpoint
from workers.runner.control import Control
from workers.runner.errors import GaveUp
from workers.runner.notes import Notes
from workers.runner.redaction import Redactor
from workers.runner.streams import Stream

SIZE_BYTES = 32 << 20
CUT_BYTES = 24 << 20
ROOM_BYTES = outputs.PIECE_BYTES + (4 << 20)
"""A piece, what lies with the systems between when a connection breaks, the requests around."""


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, broker_url: str
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("api").resolve()
    with served_api(folder, postgres_url, broker_url, unfinished_uploads_max=2) as served:
        yield served


@pytest.fixture
def door(served: Served) -> Iterator[Door]:
    with Door(served.address) as door:
        yield door


@pytest.fixture
def endpoint(served: Served, door: Door, tmp_path: Path) -> Endpoint:
    """Of a real API, through a door, with the token of a node of a run."""

    async def make() -> str:
        (run_id,) = await make_runs(served.api, 1)
        async with served.api.database.session() as session:
            image = Image(id=uuid.uuid4().hex, spec={}, state="Ready", python=sys.executable)
            session.add(image)
            await session.flush()
            run = await session.get_one(Run, run_id)
            run.image_id, run.status = image.id, "Running"
        (node,) = await start_nodes(served.api, run_id, 1)
        return node.headers["Authorization"].removeprefix("Bearer ")

    token = tmp_path / "token"
    token.write_text(asyncio.run_coroutine_threadsafe(make(), served.loop).result(60))
    return Endpoint(door.address, str(token), Control())


def nothing_to_say(name: str) -> Stream:
    raise AssertionError("something could not be collected")


def collect(endpoint: Endpoint, work: Path) -> str:
    """Send what a run made as its runner does; returns the hash of the file."""
    notes = Notes(nothing_to_say, Redactor())
    (file,) = outputs.upload_folders(endpoint, work_dir=str(work), folders=["outputs"], notes=notes)
    assert file["path"] == "outputs/model.bin"
    sha256: str = file["sha256"]
    return sha256


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "outputs"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(os.urandom(SIZE_BYTES))
    return folder.parent


def fetched(endpoint: Endpoint, sha256: str) -> str:
    digest = hashlib.sha256()
    channel = endpoint.channel()
    channel.download(f"/blobs/{sha256}", digest.update)
    channel.close()
    return digest.hexdigest()


def test_a_large_output_goes_on_where_its_connection_broke(
    endpoint: Endpoint, door: Door, work: Path
) -> None:
    door.cut_after(CUT_BYTES)

    sha256 = collect(endpoint, work)

    assert door.cuts == 1
    assert door.passed < SIZE_BYTES + ROOM_BYTES
    assert fetched(endpoint, sha256) == sha256


def test_a_runner_that_begins_anew_goes_on_with_the_output(
    endpoint: Endpoint, door: Door, work: Path
) -> None:
    door.shut_after(CUT_BYTES)
    endpoint.control.end_work(deliver_seconds=2)
    with pytest.raises(GaveUp):
        collect(endpoint, work)
    door.reopen()

    sha256 = collect(endpoint._replace(control=Control()), work)

    assert door.passed < SIZE_BYTES + ROOM_BYTES
    assert fetched(endpoint._replace(control=Control()), sha256) == sha256


def test_where_no_upload_may_be_begun_the_output_comes_in_one_request(
    served: Served, endpoint: Endpoint, work: Path
) -> None:
    async def begin_others() -> None:
        for _ in range(2):
            begun = await served.api.client.post("uploads", json={"size_bytes": 1})
            begun.raise_for_status()

    asyncio.run_coroutine_threadsafe(begin_others(), served.loop).result(60)

    sha256 = collect(endpoint, work)

    assert fetched(endpoint, sha256) == sha256
