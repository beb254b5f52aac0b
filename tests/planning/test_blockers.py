"""Every reason why a run waits, brought about: its code, what it is about, what clears it."""

import asyncio
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from app.kernel.clock import utc_now
from app.providers.base import Capacity
from app.runs.states import BlockerCode
from app.tables.dataset import Dataset, DatasetFile, DatasetVersion
from app.tables.host import SeenHost
from app.tables.image import Image
from app.tables.run import Run
from app.tables.workspace import Workspace
from tests.costs.test_costs import set_price
from tests.runs.test_faults import World, codes, fake_world, started
from tests.runs.test_submission import packed

pytestmark = pytest.mark.anyio


async def cluster_of(world: World, **values: Any) -> str:
    """A new cluster; its name."""
    name = f"b-{uuid.uuid4().hex[:8]}"
    body = {"vm_size": "SMALL", **values}
    assert (await world.api.client.put(f"clusters/{name}", json=body)).status_code == 201
    return name


async def blocked(world: World, run_id: str, code: BlockerCode) -> dict[str, Any]:
    """Wait until the run says so; the run."""
    run = await world.until(run_id, lambda run: codes(run) == [code])
    (found,) = run["blockers"]
    assert found["clears_when"]
    assert datetime.fromisoformat(found["since"]).tzinfo is not None
    return run


async def unbuilt(world: World, **values: Any) -> dict[str, Any]:
    """A run whose environment is not built."""
    snapshot = await world.api.client.put("snapshots", content=packed(train__py="print(1)"))
    body = {
        "experiment_name": "blocked",
        "snapshot_id": snapshot.json()["id"],
        "cluster_name": await cluster_of(world),
        "entry_script": "train.py",
        "environment": {"pip_packages": [f"none-{uuid.uuid4().hex}==1"]},
        **values,
    }
    answer = await world.api.client.post("runs", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_full_cluster_and_the_run_behind(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        name = await cluster_of(world, max_nodes=1)
        first = await world.submit(cluster_name=name, max_run_duration_seconds=7200)
        await started(world, first)
        second = await world.submit(cluster_name=name, max_run_duration_seconds=3600)
        run = await blocked(world, second, BlockerCode.NO_CAPACITY_NOW)
        assert run["blockers"][0]["object"] == f"cluster {name}"
        third = await world.submit(cluster_name=name)
        behind = await blocked(world, third, BlockerCode.BEHIND_RUN)
        assert behind["blockers"][0]["object"] == f"run {second}"
        assert (run["queue_position"], behind["queue_position"]) == (1, 2)

        # Nothing has completed here: that they end by their limits is all that is known, and a
        # plan that was made while the first one started did not know that.
        run, behind = [
            await world.until(run_id, lambda run: bool(run["estimate"]["starts_before"]))
            for run_id in (second, third)
        ]
        latest = [datetime.fromisoformat(r["estimate"]["starts_before"]) for r in (run, behind)]
        assert (latest[1] - latest[0]).total_seconds() == pytest.approx(3600, abs=90)
        earliest = datetime.fromisoformat(behind["estimate"]["starts_after"])
        assert earliest <= latest[1]
        listed = (await world.api.client.get("runs", params={"cluster_name": name})).json()
        assert listed["items"][0]["estimate"] == (await world.run(third))["estimate"]


async def test_larger_than_the_cluster_or_the_hosts_can_ever_be(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        name = await cluster_of(world, max_nodes=2)
        run_id = await world.submit(cluster_name=name, node_count=2)
        await world.until(run_id, lambda run: run["status"] == "Queued" and run["attempt"] == 1)
        refused = await world.api.client.post(
            "runs", json=(await world.run(run_id))["request"] | {"node_count": 3}
        )
        assert refused.status_code == 422
        # The cluster is made smaller while the run waits.
        other = await cluster_of(world, max_nodes=2, is_enabled=False)
        waiting = await world.submit(cluster_name=other, node_count=2)
        await blocked(world, waiting, BlockerCode.CLUSTER_DISABLED)
        smaller = {"max_nodes": 1, "is_enabled": True}
        await world.api.client.patch(f"clusters/{other}", json=smaller)
        run = await blocked(world, waiting, BlockerCode.LARGER_THAN_CLUSTER)
        assert run["estimate"] is None

    async with fake_world(tmp_path / "small", postgres_url, broker_url, gpus=0) as world:
        world.fake.size = Capacity(cores=0.25, memory_bytes=2**33, gpus=0)
        wide = await cluster_of(world, max_nodes=9)
        waiting = await world.submit(node_count=5, cluster_name=wide)
        run = await blocked(world, waiting, BlockerCode.LARGER_THAN_HOSTS)
        assert run["blockers"][0]["object"] == "hosts"


async def test_an_image_that_is_built_and_one_that_cannot_be(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        run = await unbuilt(world)
        waiting = await blocked(world, run["id"], BlockerCode.IMAGE_BUILDING)
        assert waiting["blockers"][0]["object"] == f"image {run['image_hash']}"
        async with world.api.database.session() as session:
            failed = {"message": "no such package"}
            await session.execute(
                update(Image)
                .where(Image.id == run["image_hash"])
                .values(state="Failed", error=failed)
            )
        over = await world.until(run["id"], lambda run: run["status"] == "Failed")
        assert over["error"]["code"] == "image_build_failed"
        events = (await world.api.client.get(f"runs/{run['id']}/events")).json()["items"]
        said = [b for e in events if e["type"] == "blocked" for b in e["data"]["blockers"]]
        assert said[-1]["code"] == BlockerCode.IMAGE_FAILED
        assert said[-1]["object"] == f"image {run['image_hash']}"


async def test_data_whose_source_does_not_answer(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    nobody = {"fetch_allow": ["127.0.0.1"], "fetch_timeout_seconds": 2.0}
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0, **nobody) as world:
        await _register(world, "away", "http://127.0.0.1:9/data")
        run = await unbuilt(world, inputs={"data": {"dataset": "away"}})
        found = await blocked(world, run["id"], BlockerCode.DATA_UNREACHABLE)
        assert found["blockers"][0]["object"] == "inputs"
        assert "127.0.0.1:9" in found["blockers"][0]["detail"]


async def test_data_whose_source_is_gone_for_good(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        # No fetch from this machine itself is allowed.
        await _register(world, "gone", "http://127.0.0.1:9/data")
        run = await unbuilt(world, inputs={"data": {"dataset": "gone"}})
        over = await world.until(run["id"], lambda run: run["status"] == "Failed")
        assert over["error"]["code"] == "dataset_source_lost"
        assert "127.0.0.1:9" in over["error"]["message"]


async def _register(world: World, name: str, url: str) -> None:
    """A dataset of one file that is nowhere but at its source."""
    number = uuid.uuid4().hex
    async with world.api.database.session() as session:
        workspace = await session.scalar(
            select(Workspace.id).where(Workspace.name == world.api.workspace)
        )
        session.add(Dataset(id=f"ds-{number}", workspace_id=workspace, name=name))
        await session.flush()
        version = DatasetVersion(
            id=f"dv-{number}",
            dataset_id=f"ds-{number}",
            version=1,
            fingerprint="0" * 64,
            file_count=1,
            size_bytes=1,
        )
        session.add(version)
        await session.flush()
        session.add(
            DatasetFile(version_id=version.id, path="x", url=url, size_bytes=1, sha256=number * 2)
        )


async def test_a_budget_and_what_would_be_refused_for_money(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        await set_price(world, "STANDARD_D4_V2", 2.0)
        put = await world.api.client.put("budget", json={"amount": 3})
        assert put.status_code == 201
        one = {"vm_size": "STANDARD_D4_V2", "max_run_duration_seconds": 3600}
        await started(world, await world.submit(**one))
        await blocked(world, await world.submit(**one), BlockerCode.BUDGET)


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"node_count": 10}, "/node_count", "larger_than_cluster"),
        ({"node_count": 9}, "/node_count", "larger_than_quota"),
        ({"max_cost": 1, "max_run_duration_seconds": 7200}, "/max_cost", "dearer_than_max_cost"),
        ({"max_run_duration_seconds": 36000}, "/max_run_duration_seconds", "dearer_than_budget"),
        ({"max_cost": 20}, "/max_cost", "dearer_than_budget"),
        ({"node_count": 5}, "/node_count", "larger_than_hosts"),
    ],
)
async def test_what_can_never_be_placed_is_refused(
    tmp_path: Path,
    postgres_url: str,
    broker_url: str,
    change: dict[str, Any],
    pointer: str,
    code: str,
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        await set_price(world, "STANDARD_D3_V2", 2.0)
        name = await cluster_of(world, vm_size="STANDARD_D3_V2", max_nodes=9)
        await world.api.client.put("budget", json={"amount": 10})
        address = f"http://api/v1/quotas/workspace/{world.api.workspace}"
        of_user = await world.api.client.put("http://api/v1/quotas/user/admin", json={"nodes": 8})
        assert of_user.status_code == 201, of_user.text
        await world.api.client.put(address, json={"nodes": 8})
        body = (await unbuilt(world, cluster_name=name))["request"]
        async with world.api.database.session() as session:
            await session.execute(delete(SeenHost))
            if code == "larger_than_hosts":
                session.add(_host("blockers"))
        answer = await world.api.client.post("runs", json=body | change)
        async with world.api.database.session() as session:
            await session.execute(delete(SeenHost))
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert (error["pointer"], error["code"]) == (pointer, code)
        if code == "larger_than_quota":
            assert "quota of the workspace" in error["message"]
        assert len((await world.api.client.get("runs")).json()["items"]) == 1


def _host(name: str, *, cores: float = 0.25) -> SeenHost:
    return SeenHost(
        name=name,
        provider="fake",
        state="ready",
        detail="",
        address="",
        cores=cores,
        memory_bytes=2**40,
        gpus=0,
        labels={},
    )


async def test_checking_only_says_what_a_run_would_cost_and_when_it_would_start(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        await set_price(world, "STANDARD_D2_V2", 3.6)
        name = await cluster_of(world, vm_size="STANDARD_D2_V2", max_nodes=2)
        run = await unbuilt(world, cluster_name=name)
        body = run["request"] | {"node_count": 2, "max_run_duration_seconds": 5000}
        only = {"validate_only": "true"}
        async with world.api.database.session() as session:
            session.add(_host("checking", cores=64))
        nothing = await world.api.client.post("runs", json=body, params=only)
        assert nothing.status_code == 200, nothing.text
        known = nothing.json()["estimate"]
        assert (known["learned_from_runs"], known["takes_at_least_seconds"]) == (0, 0.0)
        assert known["takes_at_most_seconds"] == 5000.0
        assert known["costs_at_most"] == pytest.approx(10.0)

        async with world.api.database.session() as session:
            row = await session.get_one(Run, run["id"])
            await _completed(session, row, (1000.0, 2000.0, 3000.0))
        answer = await world.api.client.post("runs", json=body, params=only)
        estimate = answer.json()["estimate"]
        assert estimate["learned_from"] == "experiment, program and cluster"
        assert estimate["learned_from_runs"] == 3
        assert estimate["takes_at_least_seconds"] == pytest.approx(1200.0)
        assert estimate["takes_at_most_seconds"] == pytest.approx(2800.0)
        assert estimate["costs_at_least"] == pytest.approx(2.4)
        assert estimate["costs_at_most"] == pytest.approx(5.6)
        again = await world.api.client.get(f"runs/{answer.json()['id']}")
        assert again.status_code == 404


async def _completed(session: Any, like: Run, seconds: tuple[float, ...]) -> None:
    """Runs like one that took so long."""
    now = utc_now()
    for number, took in enumerate(seconds):
        session.add(
            Run(
                id=f"{like.id[:-2]}{number:02}x",
                workspace_id=like.workspace_id,
                experiment_id=like.experiment_id,
                cluster_id=like.cluster_id,
                created_by="test",
                request=like.request,
                status="Completed",
                max_attempts=1,
                node_count=1,
                started_at=now - timedelta(seconds=took),
                ended_at=now,
                next_check_at=None,
            )
        )


async def test_the_list_of_codes_is_the_documented_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "runs.md"
    text = await asyncio.to_thread(page.read_text)
    for code in BlockerCode:
        assert f"| `{code}` |" in text, code
