"""Every list can be read page by page, and tokens that somebody made up lead nowhere else."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.clusters.vm_sizes import SizesFileInvalid
from app.kernel.clock import utc_now
from app.kernel.config import Settings
from app.kernel.orm import Base
from app.main import create_app
from app.openapi.document import operations
from app.tables.cluster import Cluster, ClusterNode
from app.tables.cost import Charge, Price
from app.tables.host import HostSettings, SeenHost
from app.tables.leak import Leak
from app.tables.log import LogStream
from app.tables.run import Attempt, RunNode
from app.tables.workspace import Workspace
from tests.contract.things import Things, make_things
from tests.databases import own_database
from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio

SEVERAL = {
    "list_quotas",
    "list_prices",
    "list_leaks",
    "list_hosts",
    "list_cluster_nodes",
    "list_model_aliases",
    "list_run_attempts",
    "list_run_log_streams",
    "list_secret_versions",
    "list_costs",
    "list_workspaces",
    "list_experiments",
    "list_audit_events",
}
"""Lists of which the test makes more than one item."""
KEYS: tuple[list[Any], ...] = (
    ["x"],
    [""],
    [None],
    [True],
    [1.5],
    [2**40],
    [2**70],
    [-1],
    [[1]],
    [{"a": 1}],
    ["\x00"],
    ["\ud800"],
    ["0001-01-01T00:00:00+14:00"],
    ["2026-01-01T00:00:00"],
    [1, 2],
    ["a", "b", "c"],
    ["2026-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "1", "x"],
    ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "NaN", "x"],
    ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "1e99999", "x"],
    ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "1", "\x00"],
    ["\ud800", "2026-01-02T00:00:00Z", "1", "x"],
)


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    # Of its own: lists of the whole installation must not change while they are read.
    async with (
        own_database(postgres_url) as url,
        live_api(tmp_path, url, broker_url, datastore_folders=[tmp_path]) as api,
    ):
        yield api


@pytest.fixture
async def things(api: LiveApi, tmp_path: Path) -> Things:
    things = await make_things(api, tmp_path)
    workspaces = (f"{api.workspace}b", f"{api.workspace}c")
    for name in workspaces:
        (await api.client.put(f"http://api/v1/workspaces/{name}")).raise_for_status()
    for method, path, body in (
        ("PUT", f"http://api/v1/quotas/user/{things.values['user']}", {"runs": 1}),
        ("PUT", f"http://api/v1/quotas/workspace/{workspaces[0]}", {"runs": 1}),
        ("PUT", "models/digits/aliases/challenger", {"version": 1}),
        ("PUT", "models/digits/aliases/B-side", {"version": 1}),
        ("PUT", "secrets/word", {"value": "y"}),
        ("PUT", "secrets/word", {"value": "z"}),
        ("PUT", "experiments/second", {}),
    ):
        (await api.client.request(method, path, json=body)).raise_for_status()
    await insert_what_workers_write(api, things, workspaces)
    return things


async def insert_what_workers_write(
    api: LiveApi, things: Things, workspaces: tuple[str, str]
) -> None:
    run_id, now = things.values["run_id"], utc_now()
    async with api.database.session() as session:
        cluster = await session.scalar(select(Cluster.id).where(Cluster.name == "cpu"))
        rows: list[Base] = [HostSettings(name="registered", engine_url="tcp://10.0.0.9:2376")]
        for index in range(3):
            rows += [
                Price(
                    vm_size="SMALL",
                    price_per_hour=index,
                    set_by="test",
                    valid_from=now + timedelta(microseconds=index),
                ),
                Leak(kind="node", name=f"n{2 - index}", provider="fake"),
                SeenHost(
                    name=f"host-{index}",
                    provider="fake",
                    state="ready",
                    detail="",
                    address="",
                    cores=1.0,
                    memory_bytes=1,
                    gpus=0,
                    labels={},
                ),
                ClusterNode(
                    id=f"cn-{index}", cluster_id=cluster, index=index, cores=1.0, memory_bytes=1
                ),
                LogStream(owner=run_id, attempt=index, name="user_logs/std_log.txt"),
                Attempt(run_id=run_id, number=index + 10),
            ]
        session.add_all(rows)
        await session.flush()
        for index in range(3):
            session.add(
                RunNode(
                    name=f"tw-{run_id}-a{index + 10}-n0",
                    run_id=run_id,
                    attempt=index + 10,
                    node_index=0,
                )
            )
        names = (api.workspace, *workspaces)
        found = await session.execute(
            select(Workspace.name, Workspace.id).where(Workspace.name.in_(names))
        )
        ids = {name: workspace_id for name, workspace_id in found}  # noqa: C416  (a row is no tuple to mypy)
        for index, name in enumerate(names):
            # Two of them are equally dear, to more digits than a price has, and one goes on: it is
            # dearer at each look.
            session.add(
                Charge(
                    run_id=f"run-{index}",
                    attempt=1,
                    workspace_id=ids[name],
                    experiment_name="e",
                    cluster_name="c",
                    created_by=things.values["user"],
                    vm_size="SMALL",
                    node_count=1 if index else 1000,
                    price_per_node_hour=Decimal("1.234567") if index else 1000,
                    began_at=now - timedelta(hours=1, seconds=1),
                    ended_at=now if index else None,
                )
            )


def lists(api: LiveApi) -> dict[str, str]:
    """The paths of all lists that have pages, by their operations."""
    return {
        operation["operationId"]: path
        for path, method, operation in operations(api.app.openapi())
        if method == "get"
        and any(
            parameter.get("name") == "page_token" for parameter in operation.get("parameters", [])
        )
    }


async def test_pages_are_the_whole_list_in_its_order(api: LiveApi, things: Things) -> None:
    since = {"since": (utc_now() - timedelta(days=2)).isoformat()}
    for operation, path in lists(api).items():
        asked = since if path.endswith("/costs") else {}
        address = things.address(path)
        whole = await api.client.get(address, params={**asked, "page_size": 1000})
        assert whole.status_code == 200, (operation, whole.text)
        assert whole.json()["next_page_token"] == ""
        listed = whole.json()["items"]
        assert len(listed) > 1 or operation not in SEVERAL, operation
        found, token, pages = [], "", 0
        while token or pages == 0:
            asked = {**asked, "page_size": "1", "page_token": token}
            page = await api.client.get(address, params=asked)
            assert page.status_code == 200, (operation, page.text)
            found += page.json()["items"]
            token, pages = page.json()["next_page_token"], pages + 1
        assert [_name(item) for item in found] == [_name(item) for item in listed], operation
        assert pages == max(1, len(listed))


def _name(item: dict[str, Any]) -> Any:
    # What costs amount to changes from one moment to the next, their order here does not.
    return item["name"] if "node_hours" in item else item


async def test_pages_of_costs_are_all_about_the_same_moment(api: LiveApi, things: Things) -> None:
    address = "http://api/v1/costs"
    pages: list[dict[str, Any]] = []
    asked: dict[str, Any] = {
        "since": (utc_now() - timedelta(days=2)).isoformat(),
        "page_size": 1,
    }
    while not pages or pages[-1]["next_page_token"]:
        token = pages[-1]["next_page_token"] if pages else ""
        answer = await api.client.get(address, params={**asked, "page_token": token})
        pages.append(answer.json())
    assert len(pages) == 3
    # A node-hour of a million: each moment shows in the total.
    assert len({page["cost"] for page in pages}) == 1
    assert sum(page["items"][0]["cost"] for page in pages) == pytest.approx(pages[0]["cost"])
    assert pages[0]["items"][0]["name"] == api.workspace
    token = pages[0]["next_page_token"]
    for other in ({"by": "user"}, {"until": "2999-01-01T00:00:00Z"}):
        answer = await api.client.get(address, params={**asked, **other, "page_token": token})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "bad_page_token")
    # Who knows of no pages gets all.
    del asked["page_size"]
    assert len((await api.client.get(address, params=asked)).json()["items"]) == 3


async def test_made_up_tokens_are_refused_or_lead_somewhere(api: LiveApi, things: Things) -> None:
    tried = 0
    for operation, path in lists(api).items():
        address = things.address(path)
        token = (await api.client.get(address, params={"page_size": 1})).json()["next_page_token"]
        assert token or operation not in SEVERAL, operation
        if not token:
            continue
        tried += 1
        binding, *_ = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        for keys in KEYS:
            made = base64.urlsafe_b64encode(json.dumps([binding, *keys]).encode()).decode()
            answer = await api.client.get(address, params={"page_token": made.rstrip("=")})
            assert answer.status_code in (200, 400, 422), (operation, keys, answer.text)
            if answer.status_code == 400:
                assert answer.json()["errors"][0]["code"] == "bad_page_token", (operation, keys)
    assert tried >= len(SEVERAL)


def test_a_file_of_more_sizes_than_a_page_holds_is_refused_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "sizes.json"
    sizes = [{"name": f"S{number}", "cores": 1, "memory_gb": 1} for number in range(1000)]
    file.write_text(json.dumps(sizes))
    with pytest.raises(SizesFileInvalid, match="there may be 1000"):
        create_app(Settings(data_dir=tmp_path, vm_sizes_file=file))
