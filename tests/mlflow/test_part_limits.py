"""How much may be under way in parts, and whose file stands when it is completed twice."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from app.uploads import parts
from tests.mlflow.conftest import Space, new_space
from tests.mlflow.test_parts import Upload, left_behind
from tests.served import Served, served_api


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, broker_url: str
) -> Iterator[Served]:
    """Return a server that takes little."""
    folder = tmp_path_factory.mktemp("small").resolve()
    limits: dict[str, Any] = {"max_upload_bytes": 1000, "unfinished_uploads_max_bytes": 1500}
    with served_api(folder, postgres_url, broker_url, **limits) as server:
        yield server


@pytest.fixture
def narrow(small: Served) -> Iterator[Space]:
    """Return a workspace on it."""
    with new_space(small) as space:
        yield space


def test_a_part_takes_the_room_of_the_one_that_it_replaces(narrow: Space) -> None:
    upload = Upload(narrow, "d", num_parts=2)
    for data in (b"a" * 600, b"b" * 600, b"c" * 700):
        etag = upload.send(1, data)
    last = upload.send(2, b"d" * 300)

    assert upload.complete([etag, last]).status_code == 200


def test_parts_that_come_at_once_are_no_larger_together(narrow: Space, small: Served) -> None:
    upload = Upload(narrow, "d", num_parts=8)
    answers: list[int] = []

    def send(number: int) -> None:
        one = upload.credentials[number]
        sent = httpx2.put(one["url"], headers=one["headers"], content=b"x" * 400, trust_env=False)
        answers.append(sent.status_code)

    senders = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    assert sorted(answers) == [200] * 2 + [413] * 6
    assert len(left_behind(small, upload.id)) == 2


def test_all_of_a_workspace_together_have_room_for_so_much(narrow: Space) -> None:
    first, second, third = (Upload(narrow, f"d{n}", num_parts=1) for n in range(3))
    first.send(1, b"x" * 900)
    second.send(1, b"x" * 500)

    with pytest.raises(httpx2.HTTPStatusError, match="409") as refused:
        third.send(1, b"x" * 200)

    assert "uploads of this workspace are unfinished" in refused.value.response.json()["message"]
    assert first.call("abort", upload_id=first.id).status_code == 200
    third.send(1, b"x" * 200)


def test_what_was_written_after_it_was_completed_stays(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_joined, goes_on = threading.Event(), threading.Event()
    join = parts.join

    async def slow_join(*given: Any, **more: Any) -> Any:
        stored = await join(*given, **more)
        if not is_joined.is_set():
            is_joined.set()
            await asyncio.to_thread(goes_on.wait, 30)
        return stored

    monkeypatch.setattr(parts, "join", slow_join)
    upload = Upload(space, "d", num_parts=1)
    etag = upload.send(1, b"old")
    answers: list[int] = []
    slow = threading.Thread(target=lambda: answers.append(upload.complete([etag]).status_code))
    slow.start()
    assert is_joined.wait(30)
    assert upload.complete([etag]).status_code == 200
    file = f"{space.tracking}/api/2.0/mlflow-artifacts/artifacts/d/big.bin"
    space.http.put(file, content=b"newer").raise_for_status()
    goes_on.set()
    slow.join()

    assert answers == [200]
    assert space.http.get(file).content == b"newer"


def test_a_workspace_may_be_named_like_a_part_of_the_address(served: Served) -> None:
    token = {"Authorization": f"Bearer {served.token}"}
    workspace = f"{served.address}/v1/workspaces/create"
    with httpx2.Client(headers=token, trust_env=False) as client:
        client.put(workspace, json={}).raise_for_status()
        mpu = f"{workspace}/mlflow/api/2.0/mlflow-artifacts/mpu"
        made = client.post(f"{mpu}/create/d", json={"path": "x"}).raise_for_status().json()
        one = made["credentials"][0]
        sent = client.put(one["url"], headers=one["headers"], content=b"x")
        ended = {"path": "x", "upload_id": made["upload_id"]}
        client.post(f"{mpu}/abort/d", json=ended).raise_for_status()
    assert sent.status_code == 200
