"""Each limit has its answer, which comes at once and says what to do."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from app.auth.service import create_token
from app.kernel.tags import MOST_TAGS
from app.tables.run import Run
from tests.live_api import LiveApi, live_api
from tests.made_runs import make_request
from tests.waiting import until

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(
        tmp_path,
        postgres_url,
        broker_url,
        rate_limits={"submit": "4/hour", "score": ""},
        max_open_requests=6,
        max_open_streams=3,
        max_active_runs=3,
        max_body_bytes=1024**2,
    ) as api:
        yield api


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The answer, which has to be a problem of this kind, and quick."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["code"] == code
    assert answer.elapsed.total_seconds() < 10
    return found


async def test_bodies(api: LiveApi) -> None:
    put = api.client.put
    large = b'{"description": "' + b"x" * 2**20 + b'"}'
    problem(await put("experiments/e", content=large, headers=JSON), 413, "too_large")

    async def in_pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 2**16

    problem(await put("experiments/e", content=in_pieces(), headers=JSON), 413, "too_large")
    run = "runs/run_01a2b3c4d5e6f7a8b9c0d1e2f3/metrics"
    answer = await api.client.post(run, content=in_pieces(), headers=JSON)
    problem(answer, 413, "too_large")
    deep = b'{"tags": ' + b"[" * 500_000 + b"]" * 500_000 + b"}"
    problem(await put("experiments/e", content=deep, headers=JSON), 400, "bad_request")
    nested = b'{"tags": ' + b"[" * 200 + b"]" * 200 + b"}"
    problem(await put("experiments/e", content=nested, headers=JSON), 422, "invalid")
    number = b'{"description": ' + b"9" * 900_000 + b"}"
    problem(await put("experiments/e", content=number, headers=JSON), 400, "bad_request")
    exponent = b'{"max_active_runs": 1e999999999}'
    answer = await api.client.patch(workspace_url(api), content=exponent, headers=JSON)
    assert answer.status_code in (400, 422)


def workspace_url(api: LiveApi) -> str:
    return str(api.client.base_url).rstrip("/")


async def test_addresses_and_headers(api: LiveApi) -> None:
    get = api.client.get
    problem(await get("runs", params={"tag": "x" * 20_000}), 414, "address_too_long")
    many = {f"X-Header-{number}": "x" for number in range(101)}
    problem(await get("runs", headers=many), 431, "headers_too_large")
    problem(await get("runs", headers={"X-Long": "x" * 33_000}), 431, "headers_too_large")
    twice = [("Authorization", api.client.headers["authorization"]), ("Authorization", "Bearer x")]
    problem(await get("runs", headers=twice), 400, "bad_request")


async def test_pages_and_filters(api: LiveApi) -> None:
    get = api.client.get
    assert len((await get("runs", params={"page_size": 10**9})).json()["items"]) <= 1000
    assert (await get("runs", params={"page_size": 10**40})).status_code == 200
    problem(await get("runs", params={"metric": ["a<1"] * 11}), 422, "invalid")
    problem(await get("runs", params={"order_by": "metrics." + "x" * 400}), 422, "invalid")
    problem(await get("runs", params={"page_token": "x" * 9000}), 400, "bad_request")


async def test_how_often_a_caller_may_ask(api: LiveApi) -> None:
    answers = [await api.client.post("runs", json={}) for _ in range(6)]
    assert [answer.status_code for answer in answers[:4]] == [422] * 4
    refused = problem(answers[4], 429, "rate_limited")
    assert refused["retryable"] is True
    assert 1 <= int(answers[4].headers["retry-after"]) <= 3600
    # Other kinds of requests, and other callers, go on.
    assert (await api.client.get("runs")).status_code == 200
    async with api.database.session() as session:
        _, secret = await create_token(session, name="other")
    other = {"Authorization": f"Bearer {secret}"}
    assert (await api.client.post("runs", json={}, headers=other)).status_code == 422


@pytest.mark.fault(17)
async def test_how_many_streams_and_requests_may_be_open(api: LiveApi) -> None:
    run = (await api.client.post("runs", json=await make_request(api))).json()["id"]

    async def stream(seconds: float) -> httpx2.Response:
        return await api.client.get(f"runs/{run}/events?after=2&wait={seconds}")

    async def take_one() -> httpx2.Response:
        while (answer := await stream(60)).status_code == 429:
            await asyncio.sleep(0.01)
        return answer

    async def are_all_taken() -> bool:
        return (await stream(0.01)).status_code == 429

    waiting = [asyncio.create_task(take_one()) for _ in range(3)]
    await until(are_all_taken)
    refused = await stream(60)
    problem(refused, 429, "too_many_open_requests")
    assert int(refused.headers["retry-after"]) > 0
    assert (await api.client.get("runs")).status_code == 200
    await api.client.patch(f"runs/{run}", json={"display_name": "there is something to say"})
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    assert (await stream(0.01)).status_code == 200
    many = await asyncio.gather(*(api.client.get("runs") for _ in range(40)))
    assert {answer.status_code for answer in many} == {200, 429}
    assert (await api.client.get("runs")).status_code == 200


async def test_how_many_runs_may_be_under_way(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with live_api(tmp_path, postgres_url, broker_url, max_active_runs=3) as api:
        body = await make_request(api)
        answers = await asyncio.gather(*(api.client.post("runs", json=body) for _ in range(9)))
        assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 6
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["code"] == "too_many_runs"
        assert int(refused.headers["retry-after"]) > 0
        run = next(answer for answer in answers if answer.status_code == 201).json()["id"]
        async with api.database.session() as session:
            row = await session.get_one(Run, run)
            row.status = "Canceled"
        assert (await api.client.post("runs", json=body)).status_code == 201
        quota = await api.client.patch(workspace_url(api), json={"max_active_runs": 1})
        assert quota.json()["max_active_runs"] == 1
        assert (await api.client.post("runs", json=body)).status_code == 429


async def test_tags_and_properties(api: LiveApi) -> None:
    run = (await api.client.post("runs", json=await make_request(api))).json()["id"]
    for what in ("tags", "properties"):
        full = {f"key {number}": "" for number in range(MOST_TAGS)}
        assert (await api.client.patch(f"runs/{run}", json={what: full})).status_code == 200
        answer = await api.client.patch(f"runs/{run}", json={what: {"more": ""}})
        problem(answer, 409, "too_many_tags")
        one = {what: {"key 1": ""}}
        assert (await api.client.patch(f"runs/{run}", json=one)).status_code == 200
    workspace = workspace_url(api)
    full = {f"key {number}": "" for number in range(MOST_TAGS)}
    assert (await api.client.patch(workspace, json={"tags": full})).status_code == 200
    problem(await api.client.patch(workspace, json={"tags": {"more": ""}}), 409, "too_many_tags")
    refused = await api.client.put("clusters/c", json={"tags": full | {"more": ""}})
    errors = problem(refused, 422, "invalid")["errors"]
    assert "too_many_tags" in {error["code"] for error in errors}


async def test_a_refusal_does_no_work_on_runs(api: LiveApi) -> None:
    """Those who are refused wait for nothing that an answer waits for."""
    for _ in range(5):
        await api.client.post("runs", json={})
    async with api.database.session() as session:
        await session.execute(text("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE"))
        answered = asyncio.create_task(api.client.get("runs"))
        waiting = text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")

        async def does_wait() -> bool:
            return bool(await session.scalar(waiting))

        await until(does_wait)
        for _ in range(50):
            assert (await api.client.post("runs", json={})).status_code == 429
        assert not answered.done()
    assert (await answered).status_code == 200
