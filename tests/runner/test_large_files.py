"""Large files of nodes go on where their connection broke off; a real API takes them."""

import asyncio
import hashlib
import os
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from sqlalchemy import select

from app.tables.blob import Blob
from app.tables.run import Run
from tests.client.door import Door
from tests.logs.nodes import Node, start_nodes
from tests.made_runs import make_runs
from tests.served import Served, served_api
from workers.runner.api import Endpoint
from workers.runner.control import Control
from workers.runner.large_files import LARGE_BYTES
from workers.runner.notes import Notes
from workers.runner.outputs import Uploaded, upload_folders
from workers.runner.redaction import Redactor

T = TypeVar("T")
MEGABYTE = 1 << 20
SIZE_BYTES = LARGE_BYTES + 9 * MEGABYTE
MOST_BYTES = 64 * MEGABYTE


class Said:
    """A stream that keeps what is written to it."""

    def __init__(self) -> None:
        self.text = ""

    def append(self, data: bytes) -> None:
        self.text += data.decode()


class Bench:
    """Two nodes of a run, and the folder of the first."""

    def __init__(self, served: Served, folder: Path) -> None:
        self._served = served
        self._folder = folder
        self.said = Said()
        self.nodes = self.wait(self._start())
        (folder / "outputs").mkdir()

    async def _start(self) -> list[Node]:
        (run_id,) = await make_runs(self._served.api, 1)
        async with self._served.api.database.session() as session:
            (await session.get_one(Run, run_id)).status = "Running"
        return await start_nodes(self._served.api, run_id, 2)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._served.loop).result(60)

    def write(self, size_bytes: int = SIZE_BYTES) -> tuple[Path, str]:
        """Write a file of random bytes; returns where it is, and its hash."""
        path = self._folder / "outputs" / "weights"
        path.write_bytes(os.urandom(size_bytes))
        return path, hashlib.sha256(path.read_bytes()).hexdigest()

    def upload(self, address: str) -> Uploaded:
        token = self._folder / "token"
        token.write_text(self.nodes[0].headers["Authorization"].removeprefix("Bearer "))
        endpoint = Endpoint(address, str(token), Control())
        notes = Notes(lambda name: self.said, Redactor())  # type: ignore[arg-type,return-value]
        return upload_folders(
            endpoint, work_dir=str(self._folder), folders=["outputs"], notes=notes
        )

    def has_blob(self, sha256: str) -> bool:
        async def find() -> bool:
            async with self._served.api.database.session() as session:
                row = await session.scalar(select(Blob).where(Blob.sha256 == sha256))
            return row is not None and await self._served.api.objects.exists(sha256)

        return self.wait(find())

    def ask(
        self,
        method: str,
        sha256: str,
        *,
        node: int = 0,
        start: Any = 0,
        size: Any = 0,
        data: Any = b"",
    ) -> httpx2.Response:
        headers = {"Upload-Offset": str(start), "Upload-Length": str(size)}
        return httpx2.request(
            method,
            f"{self._served.address}/v1/node/blobs/{sha256}/partial",
            headers={**self.nodes[node].headers, **headers},
            content=data,
            trust_env=False,
        )

    def length_bytes(self, sha256: str, *, node: int = 0) -> int:
        return int(self.ask("GET", sha256, node=node).json()["length_bytes"])


@pytest.fixture(scope="module")
def served(
    postgres_url: str, broker_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("large").resolve()
    with served_api(folder, postgres_url, broker_url, max_upload_bytes=MOST_BYTES) as served:
        yield served


@pytest.fixture
def bench(served: Served, tmp_path: Path) -> Bench:
    return Bench(served, tmp_path)


@pytest.fixture
def door(served: Served) -> Iterator[Door]:
    with Door(served.address) as door:
        yield door


def test_what_came_before_a_break_is_not_sent_again(bench: Bench, door: Door) -> None:
    _, sha256 = bench.write()

    def cut_again() -> None:
        while door.cuts < 1:
            time.sleep(0.01)
        door.cut_after(16 * MEGABYTE)

    door.cut_after(16 * MEGABYTE)
    cutting = threading.Thread(target=cut_again)
    cutting.start()
    uploaded = bench.upload(door.address)
    cutting.join()

    assert door.cuts == 2
    (listed,) = uploaded.listed
    assert (listed["sha256"], listed["size_bytes"]) == (sha256, SIZE_BYTES)
    assert bench.has_blob(sha256)
    # Begun anew after each break it would be almost twice its size.
    assert door.passed < SIZE_BYTES + 12 * MEGABYTE
    assert bench.ask("GET", sha256).json() == {"length_bytes": SIZE_BYTES, "is_complete": True}


def test_a_file_that_shrinks_on_its_way_is_named(bench: Bench, door: Door) -> None:
    path, sha256 = bench.write()

    def shrink() -> None:
        while door.passed < 4 * MEGABYTE:
            time.sleep(0.01)
        os.truncate(path, MEGABYTE)

    door.delay(0.005)
    shrinking = threading.Thread(target=shrink)
    shrinking.start()
    uploaded = bench.upload(door.address)
    shrinking.join()

    assert uploaded == Uploaded([], has_lost_files=True)
    assert "outputs/weights: became shorter while it was collected" in bench.said.text
    assert not bench.has_blob(sha256)
    assert bench.length_bytes(sha256) == 0, "nobody needs what came of it"


def test_a_connection_on_which_nothing_comes_is_given_up(
    bench: Bench, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.nodes.partial_blobs.MOST_IDLE_SECONDS", 1.0)
    sha256 = "0" * 64
    with begun(bench, door, sha256, b"four", size_bytes=9) as silent:
        assert b" 503 " in silent.recv(100)
    assert bench.length_bytes(sha256) == 4


def test_a_file_that_is_given_up_while_it_comes_begins_again(bench: Bench, door: Door) -> None:
    sha256 = hashlib.sha256(b"four five").hexdigest()
    with begun(bench, door, sha256, b"four", size_bytes=9) as connection:
        while bench.ask("GET", sha256).status_code != 409:  # it is being written
            time.sleep(0.01)
        assert bench.ask("DELETE", sha256).status_code == 204
        connection.sendall(b" five")
        assert b" 409 " in connection.recv(100)
    assert bench.length_bytes(sha256) == 0


@contextmanager
def begun(
    bench: Bench, door: Door, sha256: str, data: bytes, *, size_bytes: int
) -> Iterator[socket.socket]:
    """A connection on which the first bytes of a file have been sent."""
    head = (
        f"PATCH /v1/node/blobs/{sha256}/partial HTTP/1.1\r\nHost: api\r\n"
        f"Content-Length: {size_bytes}\r\nUpload-Offset: 0\r\nUpload-Length: {size_bytes}\r\n"
        f"Authorization: {bench.nodes[0].headers['Authorization']}\r\n\r\n"
    )
    host, port = door.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head.encode() + data)
        yield connection


def test_pieces_are_taken_where_they_belong(bench: Bench) -> None:
    data = os.urandom(1000)
    sha256 = hashlib.sha256(data).hexdigest()
    assert bench.length_bytes(sha256) == 0

    begun = bench.ask("PATCH", sha256, size=1000, data=data[:400])
    assert begun.json() == {"length_bytes": 400, "is_complete": False}
    for start, piece in ((0, data), (399, data[399:]), (401, data[401:])):
        refused = bench.ask("PATCH", sha256, start=start, size=1000, data=piece)
        assert (refused.status_code, refused.json()["code"]) == (409, "upload_offset_mismatch")
    too_long = bench.ask("PATCH", sha256, start=400, size=1000, data=data)
    assert (too_long.status_code, too_long.json()["code"]) == (422, "upload_too_long")
    assert bench.length_bytes(sha256) == 400
    assert bench.length_bytes(sha256, node=1) == 0, "files of another node"

    ended = bench.ask("PATCH", sha256, start=400, size=1000, data=data[400:])
    assert ended.json() == {"length_bytes": 1000, "is_complete": True}
    assert bench.has_blob(sha256)


def test_what_was_sent_wrong_begins_again(bench: Bench) -> None:
    sha256 = hashlib.sha256(b"right").hexdigest()
    wrong = bench.ask("PATCH", sha256, size=5, data=b"wrong")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "digest_mismatch")
    assert bench.length_bytes(sha256) == 0
    assert not bench.has_blob(sha256)
    assert bench.ask("PATCH", sha256, size=5, data=b"right").json()["is_complete"]


def test_a_file_that_is_whole_and_not_yet_a_blob_becomes_one(bench: Bench, served: Served) -> None:
    data = os.urandom(1000)
    sha256 = hashlib.sha256(data).hexdigest()
    bench.ask("PATCH", sha256, size=2000, data=data)
    ended = bench.ask("PATCH", sha256, start=1000, size=1000)
    assert ended.json() == {"length_bytes": 1000, "is_complete": True}
    assert bench.has_blob(sha256)


@pytest.mark.parametrize(
    ("start", "size", "status", "code"),
    [
        (0, MOST_BYTES + 1, 413, "object_too_large"),
        (5, 10, 409, "upload_offset_mismatch"),
        (-1, 10, 422, "invalid"),
        ("x", 10, 422, "invalid"),
        (0, 2**64, 422, "invalid"),
    ],
)
def test_odd_pieces_are_refused(
    bench: Bench, start: Any, size: Any, status: int, code: str
) -> None:
    sha256 = hashlib.sha256(os.urandom(8)).hexdigest()
    refused = bench.ask("PATCH", sha256, start=start, size=size, data=b"x")
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert bench.length_bytes(sha256) == 0
