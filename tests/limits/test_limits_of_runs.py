"""What a run, a token or an address may have at most, and what is answered beyond."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.auth.limits import network_of
from app.auth.service import create_token
from app.logs import service as logs
from app.metrics import service as metric_service
from app.metrics import writing
from app.nodes import refusals as node_refusals
from app.runs import file_limit
from tests.live_api import LiveApi, live_api
from tests.logs.nodes import Node, start_nodes
from tests.made_runs import make_request, make_runs

pytestmark = pytest.mark.anyio

LOG_BYTES = 64 * 1024
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(
        tmp_path,
        postgres_url,
        broker_url,
        rate_limits={"sign-in": "3/hour"},
        unfinished_uploads_per_caller=2,
        max_run_log_bytes=LOG_BYTES,
    ) as api:
        yield api


@pytest.fixture
async def run(api: LiveApi) -> str:
    (run,) = await make_runs(api, 1)
    return run


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.elapsed.total_seconds() < 10
    found: dict[str, Any] = answer.json()
    assert found["code"] == code
    return found


@pytest.fixture
def three_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MOST_NAMES", 3)
    monkeypatch.setattr(metric_service, "MOST_NAMES", 3)


async def names(api: LiveApi, run: str) -> dict[str, int]:
    answer = await api.client.get(f"runs/{run}/metrics/summary")
    return {item["name"]: item["count"] for item in answer.json()["items"]}


@pytest.mark.usefixtures("three_metrics")
async def test_metrics_of_a_run(api: LiveApi, run: str) -> None:
    async def log(seq: int, *given: str) -> httpx2.Response:
        values = [{"name": name, "value": 1.0} for name in given]
        body = {"source": "a", "first_seq": seq, "values": values}
        return await api.client.post(f"runs/{run}/metrics", json=body)

    assert (await log(0, "a", "b", "a")).status_code == 201
    problem(await log(10, "a", "c", "d"), 409, "too_many_metrics")
    assert await names(api, run) == {"a": 2, "b": 1}
    assert (await log(20, "c", "c")).status_code == 201
    problem(await log(30, "d"), 409, "too_many_metrics")
    assert (await log(40, "a", "b", "c")).status_code == 201
    assert await names(api, run) == {"a": 3, "b": 2, "c": 3}
    tracked = await api.client.post(
        "mlflow/api/2.0/mlflow/runs/log-batch",
        json={"run_id": run, "metrics": [{"key": "d", "value": 1, "timestamp": 1, "step": 0}]},
    )
    assert tracked.status_code == 409, tracked.text


@pytest.mark.usefixtures("three_metrics")
async def test_a_script_that_logs_more_loses_those_alone(api: LiveApi, run: str) -> None:
    (node,) = await start_nodes(api, run, 1)
    records = [{"kind": "metric", "name": name, "value": 1.0, "time": 1.0} for name in "abcde"]
    body = {"first_seq": 0, "records": [*records, records[0]]}
    answer = await api.client.post("http://api/v1/node/records", json=body, headers=node.headers)
    assert answer.json() == {"next_seq": 6}
    assert await names(api, run) == {"a": 2, "b": 1, "c": 1}
    events = (await api.client.get(f"runs/{run}/events")).json()["items"]
    (refused,) = [event for event in events if event["type"] == "record_refused"]
    assert refused["data"]["names"] == ["d", "e"]


async def send_records(node: Node, first_seq: int, *records: dict[str, Any]) -> None:
    body = {"first_seq": first_seq, "records": list(records)}
    url = "http://api/v1/node/records"
    answer = await node.api.client.post(url, json=body, headers=node.headers)
    assert answer.json() == {"next_seq": first_seq + len(records)}


async def refusals(api: LiveApi, run: str) -> list[tuple[str, list[str]]]:
    events = (await api.client.get(f"runs/{run}/events")).json()
    return [
        (event["reason"], event["data"]["names"])
        for event in events["items"]
        if event["type"] == "record_refused"
    ]


@pytest.mark.usefixtures("three_metrics")
async def test_what_is_refused_is_told_once_for_each_name_and_reason(
    api: LiveApi, run: str
) -> None:
    (node,) = await start_nodes(api, run, 1)
    long = "x" * 600
    matrix = {"kind": "metric", "name": "m", "type": "confusion_matrix", "value": 1}
    loop: list[dict[str, Any]] = [
        *(
            {"kind": "metric", "name": name, "value": 1.0}
            for name in (long, "", "a", "b", "c", "d")
        ),
        matrix,
        {"kind": "tag", "value": "no key"},
        {"kind": "metric", "name": "a", "step": "x"},
    ]
    for turn in range(3):
        await send_records(node, 2 * turn * len(loop), *loop, *loop)

    told = await refusals(api, run)
    too_long = f"{'x' * 100}…"
    assert told[:6] == [
        (f"metric '{too_long}': a name has 1 to 255 characters", [too_long]),
        ("metric '': a name has 1 to 255 characters", [""]),
        (
            "metric 'm': the value of a confusion_matrix must be {\"class_labels\": […], "
            '"matrix": a row of numbers for each label}',
            ["m"],
        ),
        ("a record of the kind 'tag' needs 'key'", [""]),
        (told[4][0], ["a"]),
        (told[5][0], ["d"]),
    ]
    assert told[4][0].startswith("metric 'a': step: Input should be a valid integer")
    assert told[5][0].startswith("A run has at most ")
    assert len(told) == 6
    # What comes in the next attempt is told again.
    (node,) = await start_nodes(api, run, 1, attempt=2)
    await send_records(node, 0, *loop)
    assert await refusals(api, run) == told * 2


async def test_of_names_without_end_some_are_told(
    api: LiveApi, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_refusals, "MOST_EVENTS", 5)
    (node,) = await start_nodes(api, run, 1)
    for first in (0, 4, 8):
        names = [f"{number}{'x' * 600}" for number in range(first, first + 4)]
        await send_records(node, first, *({"kind": "metric", "name": name} for name in names))

    told = await refusals(api, run)

    assert len(told) == 6
    assert told[-1] == ("More is refused, of which no event tells any more.", [])


async def test_files_of_a_run(api: LiveApi, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_limit, "MOST_FILES", 3)
    (node,) = await start_nodes(api, run, 1)
    (await api.client.put(f"blobs/{EMPTY}", content=b"")).raise_for_status()

    async def collect(count: int) -> httpx2.Response:
        files = [{"path": f"outputs/{n}", "sha256": EMPTY, "size_bytes": 0} for n in range(count)]
        return await api.client.post(
            "http://api/v1/node/outputs", json={"files": files}, headers=node.headers
        )

    async def upload(name: str) -> httpx2.Response:
        return await api.client.put(f"runs/{run}/files/{name}", content=b"")

    assert (await upload("a")).status_code == 201
    problem(await collect(3), 409, "too_many_files")
    for _ in range(2):
        assert (await collect(2)).status_code == 200
    problem(await upload("b"), 409, "too_many_files")
    assert (await upload("a")).status_code == 200
    artifact = f"mlflow/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/c"
    tracked = await api.client.put(artifact, content=b"")
    assert tracked.status_code == 409, tracked.text
    assert tracked.json()["error_code"] == "RESOURCE_CONFLICT"


async def test_the_whole_log_of_a_run(api: LiveApi, run: str) -> None:
    first, second = await start_nodes(api, run, 2)
    half = b"x" * (LOG_BYTES // 2)
    assert (await first.send(half, offset=0)).status_code == 200
    assert (await second.send(half[:-10], offset=0, stream="logs/a")).status_code == 200
    assert (await second.send(b"y" * 10, offset=0, stream="nodes/1/b")).status_code == 200

    for node, stream in ((first, "user_logs/std_log.txt"), (second, "logs/new")):
        offset = len(half) if node is first else 0
        problem(await node.send(b"z", offset=offset, stream=stream), 413, "log_full")

    # What is there already is no more.
    assert (await first.send(half, offset=0)).status_code == 200
    events = (await api.client.get(f"runs/{run}/events")).json()["items"]
    assert [event["type"] for event in events].count("log_full") == 1
    text = await api.client.get(f"runs/{run}/logs")
    assert len(text.content) == len(half) + 10
    # Other logs have no such limit.
    async with api.database.session() as session:
        assert await logs.append(session, "img_1", "build", half * 3) == 3 * len(half)


async def test_sign_ins_of_an_address(api: LiveApi) -> None:
    answers = [await api.client.get("http://api/v1/auth/oidc") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    problem(answers[-1], 429, "rate_limited")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 3600
    # Whoever has a token goes on.
    assert (await api.client.get("runs")).status_code == 200


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_is_that_of_its_owner(address: str, network: str) -> None:
    assert network_of(address) == network


async def test_uploads_of_a_token(api: LiveApi) -> None:
    async def begin(**headers: str) -> httpx2.Response:
        return await api.client.post("uploads", json={"size_bytes": 5}, headers=headers)

    begun = [await begin() for _ in range(2)]
    refused = await begin()
    problem(refused, 429, "too_many_uploads_of_caller")
    assert int(refused.headers["retry-after"]) > 0
    async with api.database.session() as session:
        _, secret = await create_token(session, name="other")
    assert (await begin(Authorization=f"Bearer {secret}")).status_code == 201
    await api.client.delete(f"uploads/{begun[0].json()['id']}")
    assert (await begin()).status_code == 201


async def test_ranges(api: LiveApi, run: str) -> None:
    (await api.client.put(f"runs/{run}/files/f", content=b"0123456789")).raise_for_status()

    async def part(wanted: str) -> tuple[int, bytes]:
        answer = await api.client.get(f"runs/{run}/files/f", headers={"Range": wanted})
        assert answer.elapsed.total_seconds() < 10
        return answer.status_code, answer.content

    assert await part("bytes=2-3") == (206, b"23")
    whole = (200, b"0123456789")
    assert await part("bytes=0-0,2-3") == whole
    assert await part("bytes=" + ",".join("0-" for _ in range(5000))) == whole
    assert await part("bytes=0-" + "9" * 5000) == whole
    assert await part("bytes=-" + "9" * 5000) == whole
    for path in (f"runs/{run}/logs", f"runs/{run}/logs?lines=false"):
        answer = await api.client.get(path, headers={"Range": "bytes=" + "9" * 5000 + "-"})
        assert answer.status_code < 500, answer.text


async def test_bodies_in_parts_are_taken_nowhere(api: LiveApi) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    body = part * 15_000 + b"--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for path in ("runs", "datasets", "runs/import"):
        answer = await api.client.post(path, content=body, headers=headers)
        problem(answer, 415, "unsupported_media_type")
    assert (await api.client.post("runs", json=await make_request(api))).status_code == 201
