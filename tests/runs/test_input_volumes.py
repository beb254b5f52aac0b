"""Mounted inputs on hosts of nodes: filled once, shared, evicted; downloaded when that fails."""

import asyncio
import hashlib
import io
import tarfile
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.kernel.signals import Signals
from app.providers.base import Capacity, InputMount, ProviderError
from app.providers.docker.engine import EngineAway
from app.providers.fake.faults import Fault, Verb
from app.providers.fake.provider import FakeProvider
from app.runs.input_volumes import Used, evictable, mount_folder
from app.tables.dataset import Dataset, DatasetFile, DatasetVersion
from app.tables.input_volume import InputVolume
from app.tables.workspace import Workspace
from tests.databases import own_database
from tests.live_api import live_api
from tests.runs.test_faults import World, codes, started
from tests.waiting import until
from workers.collect_leaks import LeakCollector
from workers.context import WorkerContext
from workers.evict_inputs import InputEvictor
from workers.reconcile_input_volume import InputVolumeReconciler
from workers.reconcile_planning import PlanningReconciler
from workers.reconcile_run import RunReconciler

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    fake = FakeProvider(capacity=Capacity(cores=1e6, memory_bytes=2**60, gpus=0))

    def reconcilers(app: Any) -> list[Any]:
        context = WorkerContext(
            settings=app.state.settings,
            database=app.state.database,
            objects=app.state.objects,
            signals=Signals(),
            signer=app.state.signer,
            provider=fake,
        )
        kinds = (PlanningReconciler, InputVolumeReconciler, RunReconciler)
        return [kind(context) for kind in kinds]

    settings: dict[str, Any] = {"reconcilers": reconcilers, "input_cache_bytes": 1000}
    async with (
        own_database(postgres_url) as url,
        live_api(tmp_path, url, broker_url, **settings) as api,
    ):
        yield World(api, fake)


async def register(world: World, contents: dict[str, bytes]) -> str:
    """A dataset of these files; its name."""
    name = f"data-{uuid.uuid4().hex}"
    put = world.api.objects.put_bytes
    stored = {path: await put(content) for path, content in contents.items()}
    text = "".join(f"{path} {made.sha256}\n" for path, made in stored.items())
    async with world.api.database.session() as session:
        workspace = (
            await session.scalars(select(Workspace).where(Workspace.name == world.api.workspace))
        ).one()
        session.add(Dataset(id=name, workspace_id=workspace.id, name=name))
        await session.flush()
        version = DatasetVersion(
            id=f"{name}-1",
            dataset_id=name,
            version=1,
            fingerprint=hashlib.sha256(text.encode()).hexdigest(),
            file_count=len(stored),
            size_bytes=sum(made.size_bytes for made in stored.values()),
        )
        session.add(version)
        await session.flush()
        session.add_all(
            DatasetFile(
                version_id=version.id,
                path=path,
                url="http://source.example/",
                size_bytes=made.size_bytes,
                sha256=made.sha256,
            )
            for path, made in stored.items()
        )
    return name


async def submit(world: World, dataset: str, **values: Any) -> str:
    inputs = {"digits": {"dataset": dataset, **values}}
    return await world.submit(inputs=inputs)


def mounts(world: World, run_id: str) -> tuple[InputMount, ...]:
    return world.fake.specs[f"tw-{run_id}-a1-n0"].inputs


async def events(world: World, run_id: str, kind: str) -> list[dict[str, Any]]:
    found = (await world.api.client.get(f"runs/{run_id}/events")).json()["items"]
    return [event for event in found if event["type"] == kind]


async def age(world: World, volume: str, **how: float) -> None:
    async with world.api.database.session() as session:
        long_ago = func.clock_timestamp() - timedelta(**how)
        named = update(InputVolume).where(InputVolume.id == volume)
        await session.execute(named.values(last_used_at=long_ago))


async def test_the_content_is_brought_once_for_all_who_mount_it(world: World) -> None:
    content = uuid.uuid4().bytes
    one = await register(world, {"a/b.bin": content, "c.txt": b"text"})
    same = await register(world, {"a/b.bin": content, "c.txt": b"text"})
    # Slow enough for both to ask for it.
    world.fake.faults.add(Fault(Verb.FILL, delay_seconds=0.5))

    runs = await asyncio.gather(submit(world, one), submit(world, same))
    for run_id in runs:
        await started(world, run_id)
    later = await submit(world, one)
    await started(world, later)

    (volume,) = world.fake.volumes
    for run_id in (*runs, later):
        assert mounts(world, run_id) == (InputMount(volume, "/mnt/inputs/digits"),)
    with tarfile.open(fileobj=io.BytesIO(world.fake.volumes[volume])) as archive:
        members = {member.name: member for member in archive.getmembers()}
        assert set(members) == {"a", "a/b.bin", "c.txt"}
        held = archive.extractfile("a/b.bin")
        assert held is not None
        assert held.read() == content
        assert {oct(member.mode) for member in members.values()} == {"0o555", "0o444"}
    order = await world.api.client.get(
        "http://api/v1/node/order",
        headers={"Authorization": f"Bearer {world.fake.specs[f'tw-{later}-a1-n0'].token}"},
    )
    assert order.json()["inputs"][0]["mounted_at"] == "/mnt/inputs/digits"


async def test_a_run_says_that_it_waits_for_its_inputs(world: World) -> None:
    dataset = await register(world, {"a": uuid.uuid4().bytes})
    away = EngineAway("the engine does not answer")
    world.fake.faults.add(Fault(Verb.FILL, error=away, times=2))

    run_id = await submit(world, dataset)

    run = await world.until(run_id, lambda run: "inputs_caching" in codes(run))
    assert run["blockers"][-1]["object"] == "input digits"
    await started(world, run_id)
    assert codes(await world.run(run_id)) == []


@pytest.mark.parametrize(
    ("fault", "content", "reason"),
    [
        (ProviderError("no space left on device"), b"", "no space left on device"),
        (None, b"x" * 1001, "TRAINWRIGHT_INPUT_CACHE_BYTES"),
    ],
)
async def test_what_cannot_be_kept_is_downloaded_and_the_run_says_why(
    world: World, fault: ProviderError | None, content: bytes, reason: str
) -> None:
    dataset = await register(world, {"a": content or uuid.uuid4().bytes})
    if fault is not None:
        world.fake.faults.add(Fault(Verb.FILL, error=fault))

    run_id = await submit(world, dataset)
    await started(world, run_id)

    assert mounts(world, run_id) == ()
    (event,) = await events(world, run_id, "input_downloaded")
    assert event["data"] == {"input": "digits"}
    assert reason in event["reason"]


async def test_an_input_to_be_downloaded_has_no_volume(world: World) -> None:
    dataset = await register(world, {"a": uuid.uuid4().bytes})

    run_id = await submit(world, dataset, mode="download")
    await started(world, run_id)

    assert mounts(world, run_id) == ()
    assert await events(world, run_id, "input_downloaded") == []


async def test_a_volume_goes_when_it_is_long_unused_and_comes_again(world: World) -> None:
    dataset = await register(world, {"a": uuid.uuid4().bytes})
    run_id = await submit(world, dataset)
    name = await started(world, run_id)
    (first,) = world.fake.volumes
    evictor = InputEvictor(world.api.database, world.api.settings)

    async def is_ready() -> bool:
        async with world.api.database.session() as session:
            return (await session.get_one(InputVolume, first)).state == "Ready"

    # Still mounted: it stays, whatever the row says.
    await age(world, first, days=15)
    await evictor.look()
    await until(is_ready)
    assert list(world.fake.volumes) == [first]

    world.fake.lose(name)
    await age(world, first, days=15)
    await evictor.look()

    async def is_gone() -> bool:
        return first not in world.fake.volumes

    await until(is_gone)
    await started(world, await submit(world, dataset))
    assert first not in world.fake.volumes
    assert len(world.fake.volumes) == 1


async def test_a_volume_that_nobody_knows_is_a_leak(world: World) -> None:
    dataset = await register(world, {"a": uuid.uuid4().bytes})
    await started(world, await submit(world, dataset))
    (known,) = world.fake.volumes
    world.fake.volumes["tw-data_unknown"] = b""
    collector = LeakCollector(world.api.database, world.fake, grace_seconds=300)

    await collector.look()

    shown = (await world.api.client.get("http://api/v1/leaks")).json()["items"]
    assert ("volume", "tw-data_unknown") in [(leak["kind"], leak["name"]) for leak in shown]
    assert known not in [leak["name"] for leak in shown]
    now = LeakCollector(world.api.database, world.fake, grace_seconds=0)
    await now.look()
    assert list(world.fake.volumes) == [known]


@pytest.mark.parametrize(
    ("wanted", "folder"),
    [
        (None, "/mnt/inputs/digits"),
        ("data/digits", "/mnt/inputs/digits"),
        ("/mnt/data", "/mnt/data"),
        ("/mnt/../etc/passwd", "/mnt/inputs/digits"),
        ("/usr/lib", "/mnt/inputs/digits"),
    ],
)
def test_an_input_is_mounted_only_where_no_program_lives(wanted: str | None, folder: str) -> None:
    assert mount_folder("digits", wanted) == folder


def test_the_longest_idle_go_first_and_those_in_use_never() -> None:
    busy = Used("busy", 100, 10.0)
    old, older, fresh = Used("old", 50, 2000.0), Used("older", 50, 3000.0), Used("new", 50, 700.0)
    volumes = [busy, old, older, fresh]
    assert evictable(volumes, max_bytes=250, keep_seconds=9999.0) == []
    assert evictable(volumes, max_bytes=249, keep_seconds=9999.0) == ["older"]
    assert evictable(volumes, max_bytes=150, keep_seconds=9999.0) == ["older", "old"]
    assert evictable(volumes, max_bytes=0, keep_seconds=9999.0) == ["older", "old", "new"]
    assert evictable(volumes, max_bytes=250, keep_seconds=2500.0) == ["older"]
    assert evictable([replace(busy, idle_seconds=0.0)], max_bytes=0, keep_seconds=0.0) == []
