"""Short ways say what the long ones say; a parameter that no shortcut knows leads along those."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.live_api import LiveApi, live_api
from tests.made_runs import make_runs
from tests.people import bare_client, make_user

pytestmark = pytest.mark.anyio

LONG = {"pretty": "false"}
OF_ONE_ANSWER = ("x-request-id", "date")


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


def said(answer: httpx2.Response) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body; what differs from one answer to the next is left out."""
    headers = {name: value for name, value in answer.headers.items() if name not in OF_ONE_ANSWER}
    body = answer.content.replace(answer.headers["x-request-id"].encode(), b"")
    return answer.status_code, headers, body


async def both(api: LiveApi, path: str, **query: Any) -> httpx2.Response:
    short = await api.client.get(path, params=query)
    long = await api.client.get(path, params={**query, **LONG})
    assert said(short) == said(long)
    return short


async def test_reads_are_the_same_both_ways(api: LiveApi) -> None:
    runs = await make_runs(api, 3)
    assert (await both(api, "http://api/healthz")).json()["status"] == "ok"
    one = await both(api, f"runs/{runs[0]}")
    assert one.json()["id"] == runs[0]
    page = await both(api, "runs", page_size=2)
    assert [item["id"] for item in page.json()["items"]] == [runs[2], runs[1]]
    token = page.json()["next_page_token"]
    rest = await both(api, "runs", page_size=2, page_token=token)
    assert [item["id"] for item in rest.json()["items"]] == [runs[0]]
    assert rest.json()["next_page_token"] == ""


async def test_refusals_are_the_same_both_ways(api: LiveApi) -> None:
    assert (await both(api, "runs/run_none")).status_code == 404
    assert (await both(api, "runs", page_size=0)).status_code == 422
    assert (await both(api, "runs", page_token="x")).status_code == 400
    assert (await both(api, "http://api/v1/workspaces/nowhere/runs")).status_code == 404
    body = {"source": "s", "first_seq": 0, "values": [{"name": "a\u0000", "value": 1}]}
    wrongs: tuple[Any, ...] = (body, {**body, "values": []}, [], {**body, "more": 1})
    for wrong in wrongs:
        (run,) = await make_runs(api, 1)
        short = await api.client.post(f"runs/{run}/metrics", json=wrong)
        long = await api.client.post(f"runs/{run}/metrics", json=wrong, params=LONG)
        assert short.status_code == 422
        assert said(short) == said(long)


@pytest.mark.parametrize("path", ["http://api/healthz", "runs", "runs/run_none"])
async def test_unknown_parameters_are_refused_where_there_is_a_short_way(
    api: LiveApi, path: str
) -> None:
    answer = await api.client.get(path, params={"long_way": "1"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "query/long_way"


async def test_who_may_not_may_not_in_a_short_way_either(api: LiveApi) -> None:
    (run,) = await make_runs(api, 1)
    mine = f"/v1/workspaces/{api.workspace}"
    batch = {"source": "s", "first_seq": 0, "values": [{"name": "a", "value": 1}]}
    name, reader = await make_user(api, role="reader")
    _, stranger = await make_user(api)
    async with bare_client(api, stranger) as client:
        for path in (f"{mine}/runs", f"{mine}/runs/{run}"):
            assert (await client.get(path)).status_code == 404
            assert (await client.get(path, params=LONG)).status_code == 404
    async with bare_client(api, reader) as client:
        assert (await client.get(f"{mine}/runs/{run}")).status_code == 200
        refused = await client.post(f"{mine}/runs/{run}/metrics", json=batch)
        assert refused.json()["code"] == "permission_missing"
    events = (await api.client.get("audit", params={"actor": name})).json()["items"]
    assert [(event["operation"], event["outcome"]) for event in events] == [
        ("log_run_metrics", "denied")
    ]


async def test_what_mlflows_clients_ask_is_the_same_both_ways(api: LiveApi) -> None:
    at = f"http://api/v1/workspaces/{api.workspace}/mlflow/api/2.0/mlflow"
    made = await api.client.post(f"{at}/experiments/create", json={"name": "short"})
    body = {"experiment_id": made.json()["experiment_id"], "start_time": 1_000}
    short = await api.client.post(f"{at}/runs/create", json=body)
    long = await api.client.post(f"{at}/runs/create", json=body, params=LONG)
    own = ("run_id", "run_uuid", "run_name", "artifact_uri")
    infos = [answer.json()["run"]["info"] for answer in (short, long)]
    one, other = ({k: v for k, v in info.items() if k not in own} for info in infos)
    assert one == other
    run = infos[0]["run_id"]
    metric = {"key": "loss", "value": 0.5, "timestamp": 5, "step": 1}
    for params in ({}, LONG):
        logged = await api.client.post(
            f"{at}/runs/log-metric", json={"run_id": run, **metric}, params=params
        )
        assert (logged.status_code, logged.json()) == (200, {})
        batch = {"run_id": run, "metrics": [metric, {**metric, "step": 2}]}
        logged = await api.client.post(f"{at}/runs/log-batch", json=batch, params=params)
        assert (logged.status_code, logged.json()) == (200, {})
    found = await both(api, f"{at}/runs/get", run_id=run)
    assert found.json()["run"]["data"]["metrics"] == [{**metric, "step": 2}]
    assert (await both(api, f"{at}/runs/get", run_id="none")).status_code == 404
    wanted = {"experiment_ids": [body["experiment_id"]], "filter": "metrics.loss > 0"}
    short = await api.client.post(f"{at}/runs/search", json=wanted)
    long = await api.client.post(f"{at}/runs/search", json=wanted, params=LONG)
    assert said(short) == said(long)
    assert len(short.json()["runs"]) == 1
    events = (await api.client.get("audit")).json()["items"]
    assert [event["operation"] for event in events].count("create_mlflow_run") == 2
