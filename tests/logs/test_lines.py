"""Lines of a log: merged by time, the last ones, parts of them, followed and resumed."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from sqlalchemy import text

from app.logs import sealing, service
from tests.live_api import LiveApi, live_api
from tests.logs.nodes import BEGAN, STDOUT, start_nodes
from tests.made_runs import make_runs
from tests.waiting import until

pytestmark = pytest.mark.anyio
NDJSON = {"Accept": "application/x-ndjson"}
SSE = {"Accept": "text/event-stream"}


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


@pytest.fixture
async def run(api: LiveApi) -> str:
    (run,) = await make_runs(api, 1)
    return run


@pytest.fixture(params=["growing", "sealed"])
async def two_nodes(request: pytest.FixtureRequest, api: LiveApi, run: str) -> str:
    """A run of two nodes whose lines came out of order."""
    first, second = await start_nodes(api, run, 2)
    one = "user_logs/std_log_worker_1.txt"
    at = await first.print((0, "a0"), (20, "a20"), stream=STDOUT)
    await first.print((40, "a40 loss=3"), offset=at)
    await second.print((10, "b10"), (30, "b30 loss=2"), (50, "b50"), stream=one)
    await second.print((35, "of a file"), stream="nodes/1/logs/x.txt")
    if request.param == "sealed":
        await sealing.seal(api.database, api.objects, run)
    return run


async def lines(api: LiveApi, run: str, **given: Any) -> list[str]:
    answer = await api.client.get(f"runs/{run}/logs", params=given)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text.splitlines()


async def records(api: LiveApi, run: str, **given: Any) -> list[dict[str, Any]]:
    answer = await api.client.get(f"runs/{run}/logs", params=given, headers=NDJSON)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_streams_are_merged_by_time(api: LiveApi, two_nodes: str) -> None:
    found = await records(api, two_nodes)

    texts = ["a0", "b10", "a20", "b30 loss=2", "a40 loss=3", "b50"]
    assert [record["text"] for record in found] == texts
    assert [record["node"] for record in found] == [0, 1, 0, 1, 0, 1]
    assert found[3]["time"] == "2025-10-09T08:53:20.030Z"
    assert (found[3]["stream"], found[3]["offset"]) == ("user_logs/std_log_worker_1.txt", 4)


async def test_an_attempt_that_never_was_has_no_log(api: LiveApi, run: str) -> None:
    await start_nodes(api, run, 1, attempt=2)

    for given in ("attempt=3", "attempt=3&tail=1", f"attempt=3&stream={STDOUT}"):
        for headers in ({}, NDJSON, SSE):
            answer = await api.client.get(f"runs/{run}/logs?{given}", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "attempt_not_found")
    processes = await api.client.get(f"runs/{run}/processes", params={"attempt": 3})
    assert (processes.status_code, processes.json()["code"]) == (404, "attempt_not_found")
    assert await lines(api, run, attempt=1) == []
    assert await lines(api, run, attempt=2, tail=1) == []


async def test_the_first_attempt_has_a_log_before_it_has_begun(api: LiveApi, run: str) -> None:
    assert await lines(api, run, attempt=1) == []


async def test_parts_of_it(api: LiveApi, two_nodes: str) -> None:
    run = two_nodes
    assert await lines(api, run, tail=3) == ["b30 loss=2", "a40 loss=3", "b50"]
    assert await lines(api, run, tail=0) == []
    assert await lines(api, run, node=1) == ["b10", "b30 loss=2", "b50"]
    assert await lines(api, run, stream="nodes/1/logs/x.txt", tail=5) == ["of a file"]
    assert await lines(api, run, since="2025-10-09T08:53:20.030Z", tail=9) == [
        "b30 loss=2", "a40 loss=3", "b50",
    ]  # fmt: skip
    assert await lines(api, run, since="2025-10-09T08:53:20.030Z") == [
        "b30 loss=2", "a40 loss=3", "b50",
    ]  # fmt: skip
    assert await lines(api, run, until="2025-10-09T08:53:20.020Z") == ["a0", "b10", "a20"]
    assert await lines(api, run, until="2025-10-09T08:53:20.020Z", tail=1) == ["a20"]
    assert await lines(api, run, grep=r"loss=\d$") == ["b30 loss=2", "a40 loss=3"]
    assert await lines(api, run, grep="^A0$") == []
    assert await lines(api, run, grep="(?i)^A0$") == ["a0"]
    assert await lines(api, run, grep=r"\Aa", tail=1) == ["a40 loss=3"]
    assert await lines(api, run, timestamps=True, tail=1) == ["2025-10-09T08:53:20.050Z b50"]


@pytest.mark.parametrize("given", ["-1", "-0.5", " -3600", "-1h"])
@pytest.mark.parametrize("name", ["since", "until"])
async def test_a_time_before_now_is_no_moment(
    api: LiveApi, run: str, name: str, given: str
) -> None:
    for place in ("logs", "metrics"):
        answer = await api.client.get(f"runs/{run}/{place}", params={name: given})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
        (error,) = answer.json()["errors"]
        assert error["pointer"] == f"query/{name}"
        assert "2026-01-01T00:00:00Z" in error["message"]


async def test_patterns_find_what_a_terminal_shows(api: LiveApi, run: str) -> None:
    (node,) = await start_nodes(api, run, 1)
    await node.send(b"from windows\r\n\r 50%\r100%\nother\n", offset=0)

    async def texts(grep: str) -> list[str]:
        return [record["text"] for record in await records(api, run, grep=grep)]

    assert await texts("^from windows$") == ["from windows"]
    assert await texts(r"^\d+%$") == ["100%"]
    assert await texts("50%") == ["100%"]
    assert await texts("^other$") == ["other"]


@pytest.mark.parametrize("grep", ["(?-m)^b30", "(?-m:^b30)", "(?i-m)^B30", "(?-m)b30 loss=2$"])
async def test_patterns_that_take_flags_back_see_lines_too(
    api: LiveApi, two_nodes: str, grep: str
) -> None:
    assert await lines(api, two_nodes, grep=grep) == ["b30 loss=2"]


async def test_a_pattern_that_is_none_is_refused_in_words(api: LiveApi, run: str) -> None:
    answer = await api.client.get(f"runs/{run}/logs", params={"grep": "(a"})
    expected = "grep takes a regular expression in RE2's syntax: missing ): (a."
    assert answer.json()["detail"] == expected


async def test_reading_goes_on_after_any_line(api: LiveApi, two_nodes: str) -> None:
    found = await records(api, two_nodes)
    for index, record in enumerate(found):
        rest = await records(api, two_nodes, after=record["id"])
        assert [line["text"] for line in rest] == [line["text"] for line in found[index + 1 :]]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"grep": "(a"}, "bad_pattern"),
        ({"after": "here"}, "bad_line_id"),
        ({"tail": 1, "offset": 5}, "offset_of_lines"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    api: LiveApi, run: str, given: dict[str, Any], code: str
) -> None:
    answer = await api.client.get(f"runs/{run}/logs", params=given)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)


async def test_a_pattern_made_to_hang_does_not(api: LiveApi, run: str) -> None:
    (node,) = await start_nodes(api, run, 1)
    await node.send(b"x" * 200_000 + b"\n", offset=0)
    assert await lines(api, run, grep="(x+x+)+y") == []


@pytest.mark.parametrize("is_sealed", [False, True])
async def test_odd_bytes_do_no_harm(api: LiveApi, run: str, is_sealed: bool) -> None:
    (node,) = await start_nodes(api, run, 1)
    bar = b"".join(b"\r%3d%%" % percent for percent in range(101))
    data = b"\xff\xfe\x00 not text\n" + bar + b"\n" + b"y" * 1_000_000 + b"\nno end"
    await node.send(data, offset=0)
    if is_sealed:
        await sealing.seal(api.database, api.objects, run)

    found = await records(api, run)

    assert found[0]["text"] == "\ufffd\ufffd\x00 not text"
    assert found[1]["text"] == "100%"
    assert "".join(record["text"] for record in found[2:-1]) == "y" * 1_000_000
    assert [record.get("continues", False) for record in found[2:-1]] == [True, True, True, False]
    assert found[-1]["text"] == "no end"
    assert found[-1].get("continues", False) is not is_sealed
    whole = await api.client.get(f"runs/{run}/logs", params={"since": "2000-01-01T00:00:00Z"})
    assert whole.content == data + b"\n"


async def test_many_lines_in_pieces_that_cut_them_anywhere(api: LiveApi, run: str) -> None:
    (node,) = await start_nodes(api, run, 1)
    data = b"".join(b"line %d\n" % number for number in range(30_000))
    for start in range(0, len(data), 7_777):
        times = f"0@{BEGAN + start}"
        await node.send(data[start : start + 7_777], offset=start, times=times)

    async def check() -> None:
        found = await lines(api, run, grep="[05]00$")
        assert found == [f"line {n}" for n in range(30_000) if n % 1000 in (0, 500) and n]
        assert await lines(api, run, tail=2) == ["line 29998", "line 29999"]
        since = await records(api, run, since="2025-10-09T08:55:20Z")
        # The first whole line of the piece at the first moment that late.
        piece = next(start for start in range(0, len(data), 7_777) if start >= 120_000)
        assert since[0]["offset"] == data.index(b"\n", piece - 1) + 1
        assert len(since) == data.count(b"\n", since[0]["offset"])

    await check()
    await sealing.seal(api.database, api.objects, run)
    await check()


class Follower:
    """A client of the stream of events, which goes away at its wish and comes back."""

    def __init__(self, address: str, api: LiveApi, run: str) -> None:
        self._token = api.client.headers["Authorization"]
        self._url = f"{address}/v1/workspaces/{api.workspace}/runs/{run}/logs"
        self.texts: list[str] = []
        self.last_id = ""
        self.has_ended = False
        self.status = 0

    async def read(self, *, count: int | None = None, **given: Any) -> None:
        headers = {"Authorization": self._token, **SSE}
        if self.last_id:
            headers["Last-Event-ID"] = self.last_id
        async with (
            httpx2.AsyncClient(timeout=20) as client,
            client.stream("GET", self._url, params=given, headers=headers) as answer,
        ):
            self.status = answer.status_code
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    self.last_id = value
                elif line == "event: end":
                    self.has_ended = True
                elif name == "data" and not self.has_ended:
                    self.texts.append(json.loads(value)["text"])
                    if count is not None and len(self.texts) >= count:
                        return


@pytest.fixture
async def address(api: LiveApi) -> AsyncIterator[str]:
    """The application behind a real socket: answers are read while they are written."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(api.app, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await serving


async def test_a_stream_of_events_goes_on_where_it_broke_off_and_ends_with_the_log(
    api: LiveApi, run: str, address: str
) -> None:
    first, second = await start_nodes(api, run, 2)
    one = "user_logs/std_log_worker_1.txt"
    follower = Follower(address, api, run)
    at = await first.print((0, "a0"), (10, "a10"))
    await second.print((5, "b5"), stream=one)
    await follower.read(count=2)
    assert follower.texts == ["a0", "b5"]

    reading = asyncio.create_task(follower.read())
    await until(lambda: _has(follower, 3))
    await first.send(b"half", offset=at)
    await second.print((20, "b20"), offset=3, stream=one)
    await until(lambda: _has(follower, 4))
    await first.send(b" a line\n", offset=at + 4)
    await until(lambda: _has(follower, 5))
    assert follower.texts == ["a0", "b5", "a10", "b20", "half a line"]
    assert follower.status == 200
    await sealing.seal(api.database, api.objects, run)
    await reading
    assert follower.has_ended

    await follower.read()
    assert follower.status == 204
    assert len(follower.texts) == 5


async def test_no_line_is_passed_over_though_many_come_between_two_looks(
    api: LiveApi, run: str, address: str
) -> None:
    (node,) = await start_nodes(api, run, 1)
    at = await node.print((0, "a0"))
    follower = Follower(address, api, run)
    # A follower that knows how long the log is cannot read it before it has become longer.
    async with api.database.session() as session:
        await session.execute(text("LOCK TABLE log_chunks IN ACCESS EXCLUSIVE MODE"))
        reading = asyncio.create_task(follower.read())
        await until(lambda: _waits_for_chunks(api))
        for come in (b"a1\n", b"a line that is longer\na3\n"):
            at = await service.append(session, run, STDOUT, come, offset=at, node_index=0)

    await sealing.seal(api.database, api.objects, run)
    await reading
    assert follower.texts == ["a0", "a1", "a line that is longer", "a3"]


async def _waits_for_chunks(api: LiveApi) -> bool:
    waiting = "SELECT FROM pg_locks WHERE relation = 'log_chunks'::regclass AND NOT granted"
    async with api.database.session() as session:
        return (await session.execute(text(waiting))).first() is not None


async def test_the_last_lines_and_then_those_that_come(
    api: LiveApi, run: str, address: str
) -> None:
    (node,) = await start_nodes(api, run, 1)
    at = await node.print(*((n, f"line {n}") for n in range(100)))
    follower = Follower(address, api, run)
    reading = asyncio.create_task(follower.read(tail=2, grep="[02468]$"))
    await until(lambda: _has(follower, 2))
    await node.print((200, "line 200"), (201, "line 201"), (202, "line 202"), offset=at)
    await until(lambda: _has(follower, 4))
    await sealing.seal(api.database, api.objects, run)
    await reading
    assert follower.texts == ["line 96", "line 98", "line 200", "line 202"]


async def _has(follower: Follower, count: int) -> bool:
    return len(follower.texts) >= count
