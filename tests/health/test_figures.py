"""Figures of processes and of the installation."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text, update

from app.environments.states import ImageState
from app.kernel.measures import REGISTRY
from app.providers.process.provider import ProcessProvider
from app.tables.run import Run, RunNode
from tests.health.figures import read, value
from tests.live_api import live_api
from tests.runs.test_faults import World, fake_world, is_running, started
from workers.collect_leaks import LeakCollector
from workers.process import RUNNER

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        yield world


async def test_figures_name_routes_not_paths(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        await api.client.get("experiments")
        text = await read(api)
    assert 'route="/v1/workspaces/{workspace}/experiments"' in text
    assert api.workspace not in text
    assert 'trainwright_reconcile_lag_seconds{table="runs"}' in text


async def test_a_run_that_waits_and_one_that_runs_are_seen(world: World) -> None:
    before = REGISTRY.get_sample_value("trainwright_run_wait_seconds_count") or 0
    running = await world.submit()
    name = await started(world, running)
    waiting = await world.submit(vm_size="SMALL")
    await world.until(waiting, lambda run: run["queued_at"] is not None)
    cluster = (await world.run(waiting))["cluster_name"]
    async with world.api.database.session() as session:
        hour_ago = text("clock_timestamp() - interval '1 hour'")
        await session.execute(update(Run).where(Run.id == waiting).values(queued_at=hour_ago))
        silent = update(RunNode).where(RunNode.name == name)
        await session.execute(silent.values(heartbeat_at=text("now() - interval '5 seconds'")))

    found = await read(world.api)

    assert value(found, "trainwright_runs", status="Running") == 1
    assert value(found, "trainwright_runs", status="Queued") == 1
    age = value(found, "trainwright_queue_oldest_seconds", cluster=cluster)
    assert age is not None
    assert 3600 <= age < 3700
    silence = value(found, "trainwright_oldest_heartbeat_seconds", kind="run")
    assert silence is not None
    assert 5 <= silence < 60
    assert value(found, "trainwright_run_wait_seconds_count") == before + 1
    assert value(found, "trainwright_images", state=ImageState.READY) == 2
    assert (value(found, "trainwright_object_store_bytes") or 0) > 0
    assert (value(found, "trainwright_disk_free_bytes") or 0) > 0
    assert value(found, "trainwright_reconciles_total", table="runs", outcome="done")
    assert value(found, "trainwright_database_connections_limit", pool="sessions") == 20
    assert value(found, "trainwright_database_connections", pool="direct", state="in_use") == 0
    assert is_running(await world.run(running))


async def test_what_nobody_owns_is_counted_when_found_and_when_removed(world: World) -> None:
    before = await read(world.api)
    nodes = world.api.settings.data_dir / "nodes"
    (nodes / "tw-nobody-a1-n0").mkdir(parents=True)
    provider = ProcessProvider(nodes, runner=RUNNER)
    patient, impatient = (
        LeakCollector(world.api.database, provider, grace_seconds=seconds) for seconds in (300, 0)
    )

    await patient.look()
    await patient.look()

    seen = await read(world.api)
    assert value(seen, "trainwright_leaks", kind="node") == 1
    assert _more("trainwright_leaks_found_total", before, seen, kind="node") == 1
    await impatient.look()
    seen = await read(world.api)
    assert value(seen, "trainwright_leaks", kind="node") is None
    assert _more("trainwright_leaks_found_total", before, seen, kind="node") == 1
    assert _more("trainwright_leaks_removed_total", before, seen, kind="node") == 1


def _more(name: str, before: str, after: str, **labels: str) -> float:
    return (value(after, name, **labels) or 0) - (value(before, name, **labels) or 0)
