"""Whatever is sent, the answer is a problem with a code and a place, never a defect of ours."""

import base64
import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.types import Message

from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


def problem(answer: httpx2.Response, status: int, pointer: str = "") -> dict[str, Any]:
    """Check the form of a problem and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["code"]
    assert found["detail"]
    if pointer:
        assert [field["pointer"] for field in found["errors"]] == [pointer]
    return found


@pytest.mark.parametrize("credential", [b"\xff\xfe", base64.b64encode(b":\xff\xfe"), b"a", b"===="])
async def test_basic_credentials_of_no_text_are_refused(api: LiveApi, credential: bytes) -> None:
    headers = {b"Authorization": b"Basic " + credential}
    problem(await api.client.get("http://api/v1/me", headers=headers), 401)


async def test_what_nobody_signed_and_where_no_page_is_are_refused(api: LiveApi) -> None:
    me = "http://api/v1/me"
    headers: list[dict[str, Any]] = [
        {"alg": "HS256", "crit": 1},
        {"alg": [], "kid": {}},
        {"alg": "HS256", "kid": 1},
    ]
    for header in headers:
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in (header, {}, 1)]
        token = b".".join(part.rstrip(b"=") for part in parts).decode()
        answer = await api.client.get(me, headers={"Authorization": f"Bearer {token}"})
        problem(answer, 401)
    problem(await api.client.get(me, headers={"Origin": "http://["}), 403)


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("runs/%00", "path/run_id"),
        ("runs/x/files/a%00b", "path/path"),
        ("snapshots/a%00b", "path/snapshot_id"),
        ("datasets/x/registrations/%00", "path/registration_id"),
        ("runs?experiment_name=a%00b", "query/experiment_name"),
        ("runs?tag=%00", "query/tag"),
    ],
)
async def test_nul_in_an_address_is_refused(api: LiveApi, path: str, pointer: str) -> None:
    problem(await api.client.get(path), 422, pointer)


async def test_line_breaks_in_an_address_are_refused(api: LiveApi, run_path: str) -> None:
    for path in (f"{run_path}/files/a%0A", f"{run_path}/files/a%0Ab"):
        answer = problem(await api.client.put(path, content=b"x"), 400)
        assert "line break" in answer["detail"]
    assert (await api.client.get(f"{run_path}/files")).json()["items"] == []
    problem(await api.client.delete("clusters/cpu%0A"), 400)
    assert (await api.client.get("clusters/cpu")).status_code == 200


@pytest.mark.parametrize("content", ["0", "null", "{}", "[]", '"x"', "[" * 5000, "nonsense", "[1]"])
async def test_made_up_page_tokens_are_refused(api: LiveApi, content: str) -> None:
    token = base64.urlsafe_b64encode(content.encode()).decode()
    answer = await api.client.get("clusters", params={"page_token": token})
    problem(answer, 400, "query/page_token")


@pytest.mark.parametrize("text", [r"\u0000", r"a\u0000b", r"\ud800"])
async def test_text_that_cannot_be_kept_is_refused_with_its_place(api: LiveApi, text: str) -> None:
    for body, pointer in (
        (f'{{"description":"{text}"}}', "/description"),
        (f'{{"tags":{{"k":"{text}"}}}}', "/tags/k"),
        (f'{{"tags":{{"{text}":"v"}}}}', None),
    ):
        answer = await api.client.put("clusters/c", content=body, headers=JSON)
        assert problem(answer, 422, pointer or "")["errors"][0]["code"] == "text_invalid"
    assert (await api.client.get("clusters")).json()["items"] == []


async def test_escaped_text_is_kept(api: LiveApi) -> None:
    body = r'{"vm_size":"small","description":"\u00e9 \ud83d\ude00"}'
    made = await api.client.put("clusters/c", content=body, headers=JSON)
    assert made.json()["description"] == "é 😀"


@pytest.mark.parametrize("depth", [150, 900, 100_000])
async def test_deep_documents_are_refused(api: LiveApi, depth: int) -> None:
    body = '{"tags":' * depth + "1" + "}" * depth
    answer = await api.client.put("clusters/c", content=body, headers=JSON)
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code)


async def test_domains_say_which_part_of_the_request_is_wrong(api: LiveApi) -> None:
    digest = "0" * 64
    problem(await api.client.put(f"blobs/{digest}", content=b"x"), 422, "path/sha256")
    for path, pointer in (("../x", "/files/1/path"), ("a/b", "/files/0/path")):
        paths = ("a", path)
        files = [{"path": name, "sha256": digest, "size_bytes": 1} for name in paths]
        problem(await api.client.post("snapshots", json={"files": files}), 422, pointer)
    problem(await api.client.post("snapshots", json={"files": []}), 422, "/files")


@pytest.fixture
async def run_path(api: LiveApi) -> str:
    """The path of a run."""
    await api.client.put("clusters/cpu", json={"vm_size": "small"})
    source = io.BytesIO()
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("train.py", "print(1)")
    snapshot = await api.client.put("snapshots", content=source.getvalue())
    body = {"experiment_name": "e", "snapshot_id": snapshot.json()["id"], "cluster_name": "cpu"}
    made = await api.client.post("runs", json=body | {"command": "true"})
    assert made.status_code == 201, made.text
    return f"runs/{made.json()['id']}"


@pytest.mark.parametrize("wrong", ["2", True])
async def test_integers_of_a_cluster_are_neither_text_nor_truth_values(
    api: LiveApi, wrong: str | bool
) -> None:
    await api.client.put("clusters/cpu", json={"vm_size": "small"})
    for name in ("min_nodes", "max_nodes", "idle_seconds_before_scaledown"):
        whole = {"vm_size": "small", name: wrong}
        problem(await api.client.put("clusters/cpu", json=whole), 422, f"/{name}")
        problem(await api.client.patch("clusters/cpu", json={name: wrong}), 422, f"/{name}")
    assert (await api.client.patch("clusters/cpu", json={"max_nodes": 2.0})).status_code == 200


@pytest.mark.parametrize("number", [str(2**63), "9" * 500])
async def test_numbers_beyond_a_column_are_refused(
    api: LiveApi, run_path: str, number: str
) -> None:
    for query in ("events?after", "metrics?attempt", "logs?attempt"):
        name = query.partition("?")[2]
        problem(await api.client.get(f"{run_path}/{query}={number}"), 422, f"query/{name}")
    for header in (number, "²", "-1"):
        headers = {b"Accept": b"text/event-stream", b"Last-Event-ID": header.encode()}
        answer = await api.client.get(f"{run_path}/events", headers=headers)
        problem(answer, 422, "header/Last-Event-ID")


@pytest.mark.parametrize(
    "value",
    [
        {"step": 2**63},
        {"epoch": -(2**64)},
        {"time": 1e300},
        {"time": -1},
        {"name": "a\0b"},
    ],
)
async def test_metrics_that_no_column_holds_are_refused(
    api: LiveApi, run_path: str, value: dict[str, Any]
) -> None:
    batch = {"source": "me", "first_seq": 0, "values": [{"name": "loss", "value": 1} | value]}
    (name,) = value
    pointer = f"/values/0/{name}"
    problem(await api.client.post(f"{run_path}/metrics", json=batch), 422, pointer)
    assert (await api.client.get(f"{run_path}/metrics")).json()["items"] == []


@pytest.mark.parametrize(
    ("distribution", "pointer"),
    [
        ({"type": "mpi", "process_count_per_node": 0}, "/distribution/process_count_per_node"),
        ({"type": "mpi", "surprise": 1}, "/distribution/surprise"),
        ({"type": "parameter_server", "worker_count": "x"}, "/distribution/worker_count"),
        ({"type": "none of these"}, "/distribution"),
    ],
)
async def test_a_pointer_leads_into_the_body_as_it_was_sent(
    api: LiveApi, distribution: dict[str, Any], pointer: str
) -> None:
    answer = await api.client.post("runs", json={"distribution": distribution})
    pointers = [field["pointer"] for field in problem(answer, 422)["errors"]]
    assert [found for found in pointers if found.startswith("/distribution")] == [pointer]


async def test_an_address_that_is_no_path_is_refused(api: LiveApi) -> None:
    """As of ``OPTIONS *``, which no client of ours can send: so the application is asked itself."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "OPTIONS",
        "path": "*",
        "raw_path": b"*",
        "query_string": b"",
        "headers": [(b"host", b"api")],
    }
    await api.app(scope, receive, send)
    assert sent[0]["status"] == 400
