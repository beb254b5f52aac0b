"""A cluster that something uses, or is about to, stays; what comes too late is refused."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.clusters import repository, service
from app.planning.service import wake_planner
from app.runs import submission
from app.runs.schemas import RunCreate
from app.tables.batch_scoring import BatchScoring
from app.tables.sweep import Sweep
from app.tables.workspace import Workspace
from tests.databases import own_database
from tests.live_api import LiveApi, live_api
from tests.made_runs import make_request
from tests.waiting import until

pytestmark = pytest.mark.anyio
_NAME = "contended"


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with (
        own_database(postgres_url) as url,
        live_api(tmp_path, url, broker_url) as api,
    ):
        made = await api.client.put(f"clusters/{_NAME}", json={"vm_size": "SMALL"})
        assert made.status_code == 201
        yield api


async def request_of(api: LiveApi) -> dict[str, Any]:
    return {**await make_request(api), "cluster_name": _NAME}


async def workspace_of(api: LiveApi, session: AsyncSession) -> Workspace:
    named = select(Workspace).where(Workspace.name == api.workspace)
    return (await session.execute(named)).scalar_one()


async def waits(api: LiveApi, call: asyncio.Task[Any]) -> None:
    """Wait until the call waits for a lock, or is through."""
    blocked = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    async def is_so() -> bool:
        async with api.database.session() as session:
            return bool(await session.scalar(blocked)) or call.done()

    await until(is_so)


async def test_a_run_that_is_being_accepted_keeps_its_cluster(api: LiveApi) -> None:
    body = RunCreate.model_validate(await request_of(api))
    async with api.database.session() as session:
        workspace = await workspace_of(api, session)
        run = await submission.submit(
            session, api.settings, workspace=workspace, body=body, actor="test"
        )
        deleting = asyncio.create_task(api.client.delete(f"clusters/{_NAME}"))
        await waits(api, deleting)

    answer = await deleting

    assert (answer.status_code, answer.json()["code"]) == (409, "cluster_busy")
    assert run.id in answer.json()["detail"]


async def test_a_run_for_a_cluster_that_is_just_being_deleted_is_refused(api: LiveApi) -> None:
    body = await request_of(api)
    async with api.database.session() as session:
        await wake_planner(session)
        workspace = await workspace_of(api, session)
        await service.delete(session, await repository.get(session, workspace.id, _NAME))
        submitting = asyncio.create_task(api.client.post("runs", json=body))
        await waits(api, submitting)

    answer = await submitting

    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/cluster_name", "unknown_cluster")
    assert (await api.client.get("runs")).json()["items"] == []


async def test_a_sweep_keeps_its_cluster_until_it_is_over(api: LiveApi) -> None:
    body = {
        "trial": await request_of(api),
        "search_space": {"lr": {"type": "uniform", "min": 0, "max": 1}},
        "algorithm": {"type": "random"},
        "objective": {"primary_metric": "acc", "goal": "maximize"},
        "limits": {"max_trials": 3, "max_concurrent_trials": 2},
    }
    made = await api.client.post("sweeps", json=body)
    assert made.status_code == 201, made.text

    refused = await api.client.delete(f"clusters/{_NAME}")

    assert (refused.status_code, refused.json()["code"]) == (409, "cluster_busy")
    assert made.json()["id"] in refused.json()["detail"]
    async with api.database.session() as session:
        await session.execute(update(Sweep).values(status="Completed", ended_at=text("now()")))
    assert (await api.client.delete(f"clusters/{_NAME}")).status_code == 202
    late = await api.client.post("sweeps", json=body)
    assert late.status_code == 422
    assert late.json()["errors"][0]["pointer"] == "/trial/cluster_name"


async def test_a_batch_scoring_keeps_its_cluster_until_it_is_over(api: LiveApi) -> None:
    async with api.database.session() as session:
        workspace = await workspace_of(api, session)
        row = BatchScoring(
            id="batch-1", workspace_id=workspace.id, created_by="test", status="Running",
            spec={"cluster_name": _NAME},
        )  # fmt: skip
        session.add(row)

    refused = await api.client.delete(f"clusters/{_NAME}")

    assert (refused.status_code, refused.json()["code"]) == (409, "cluster_busy")
    assert "batch scoring batch-1" in refused.json()["detail"]
    async with api.database.session() as session:
        await session.execute(
            update(BatchScoring).values(status="Completed", ended_at=text("now()"))
        )
    assert (await api.client.delete(f"clusters/{_NAME}")).status_code == 202
