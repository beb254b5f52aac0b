"""What several clients log to one run at once: nobody waits for each other for ever."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.principal import Principal
from app.tables.metric import Metric, MetricSummary
from app.tables.run import Attempt, Run
from tests.live_api import LiveApi, live_api
from tests.logs.nodes import start_nodes
from tests.made_runs import make_runs
from tests.waiting import until

pytestmark = pytest.mark.anyio
PROTOCOL = "mlflow/api/2.0/mlflow"
NAMES = ["a", "b", "c", "d"]
COPY = text("""
    INSERT INTO metrics (run_id, attempt, source, seq, namespace, name, type, step, logged_at,
        value)
    SELECT :run, attempt, source, seq, namespace, name, type, step, logged_at, value
    FROM metrics WHERE run_id = :model AND name = :name
    ON CONFLICT DO NOTHING
""")
WAITING = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
""")
PATIENT = text("SET LOCAL deadlock_timeout = '1h'")


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


async def new_run(api: LiveApi) -> str:
    made = await api.client.post(f"{PROTOCOL}/runs/create", json={"experiment_id": "0"})
    return str(made.json()["run"]["info"]["run_id"])


async def log(
    api: LiveApi, run: str, names: Sequence[str], *, step: int = 5, **more: Any
) -> httpx2.Response:
    metrics = [{"key": name, "value": 1.0, "timestamp": 5, "step": step} for name in names]
    body = {"run_id": run, "metrics": metrics, **more}
    return await api.client.post(f"{PROTOCOL}/runs/log-batch", json=body)


async def waits(api: LiveApi, count: int = 1) -> None:
    """Wait until so many transactions wait for others."""

    async def is_so() -> bool:
        async with api.database.session() as session:
            return int(await session.scalar(WAITING) or 0) >= count

    await until(is_so)


async def in_order(api: LiveApi) -> tuple[str, list[str]]:
    """A run that has the values, and their names in the order of the values' keys."""
    run = await new_run(api)
    assert (await log(api, run, NAMES)).status_code == 200
    async with api.database.session() as session:
        ordered = select(Metric.name).where(Metric.run_id == run).order_by(Metric.seq)
        return run, list(await session.scalars(ordered))


@pytest.mark.parametrize("more", [{}, {"params": [{"key": "p", "value": "1"}]}])
async def test_equal_values_in_another_order_are_written_in_one(
    api: LiveApi, more: dict[str, Any]
) -> None:
    model, names = await in_order(api)
    run = await new_run(api)
    async with api.database.session() as session:
        await copy(session, run, model, names[0])
        logged = asyncio.create_task(log(api, run, names[::-1], **more))
        await waits(api)
        # It waits for the first, and holds none of those behind it.
        await session.execute(text("SET LOCAL lock_timeout = '100ms'"))
        for name in names[1:]:
            await copy(session, run, model, name)
    assert (await logged).status_code == 200
    async with api.database.session() as session:
        stored = await session.scalars(select(Metric.name).where(Metric.run_id == run))
        assert sorted(stored) == sorted(names)


async def copy(session: AsyncSession, run: str, model: str, name: str) -> None:
    await session.execute(COPY, {"run": run, "model": model, "name": name})


async def test_tags_are_set_before_metrics_are_held(api: LiveApi) -> None:
    run = await new_run(api)
    assert (await log(api, run, NAMES)).status_code == 200
    async with api.database.session() as session:
        # As nodes do that send records: the run, then summaries.
        await session.execute(select(Run.id).where(Run.id == run).with_for_update(key_share=True))
        tags = [{"key": "t", "value": "x"}]
        logged = asyncio.create_task(log(api, run, NAMES, step=6, tags=tags))
        await waits(api)
        held = select(MetricSummary.name).where(MetricSummary.run_id == run)
        found = await session.scalars(held.with_for_update(nowait=True))
        assert sorted(found) == NAMES
    assert (await logged).status_code == 200


async def test_who_is_ended_for_anothers_sake_may_try_again(api: LiveApi) -> None:
    model, names = await in_order(api)
    run = await new_run(api)
    assert (await log(api, run, ["x"], step=4)).status_code == 200
    held = select(MetricSummary.name).where(MetricSummary.run_id == run).with_for_update()
    async with api.database.session() as gate, api.database.session() as other:
        await other.execute(PATIENT)
        await other.execute(held)
        await copy(gate, run, model, names[-1])
        logged = asyncio.create_task(log(api, run, [*names, "x"]))
        await waits(api)
        entangled = asyncio.create_task(copy(other, run, model, names[0]))
        await waits(api, 2)
        await gate.rollback()
        answer = await logged
        await entangled
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert (await log(api, run, [*names, "x"])).status_code == 200


@pytest.mark.parametrize("is_child", [False, True])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_script_whose_attempt_is_lost_meanwhile_changes_no_artifact(
    api: LiveApi, method: str, is_child: bool
) -> None:
    (job,) = await make_runs(api, 1)
    await start_nodes(api, job, 1)
    owner, headers = job, await script_of(api, job)
    if is_child:
        run = await api.client.get(f"{PROTOCOL}/runs/get", params={"run_id": job})
        experiment = {"experiment_id": run.json()["run"]["info"]["experiment_id"]}
        made = await api.client.post(f"{PROTOCOL}/runs/create", json=experiment, headers=headers)
        owner = made.json()["run"]["info"]["run_id"]
    info = await api.client.get(f"{PROTOCOL}/runs/get", params={"run_id": owner})
    root = info.json()["run"]["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    address = f"{PROTOCOL}-artifacts/artifacts/{root}/note.txt"
    assert (await api.client.put(address, content=b"kept")).status_code == 200

    async with api.database.session() as session:
        begun = (await session.scalars(select(Run).where(Run.id == job).with_for_update())).one()
        request = api.client.request(method, address, content=b"late", headers=headers)
        late = asyncio.create_task(request)
        await waits(api)
        begun.attempt += 1
        session.add(Attempt(run_id=job, number=begun.attempt))

    refused = await late
    assert refused.status_code >= 400, refused.text
    assert "taken over" in refused.json()["message"]
    assert (await api.client.get(address)).content == b"kept"


async def script_of(api: LiveApi, job: str) -> dict[str, str]:
    """The headers of the script of a job's present attempt."""
    async with api.database.session() as session:
        run = await session.get_one(Run, job)
    principal = Principal(
        kind="run", id=job, name="run", workspace_id=run.workspace_id, attempt=run.attempt
    )
    return {"Authorization": f"Bearer {api.app.state.signer.issue(principal)}"}
