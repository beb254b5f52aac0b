"""Images over the API: one build for many requests, logs, failures, crashes, removal."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, update

from app.environments import service
from app.environments.spec import EnvironmentSpec
from app.experiments import repository as experiments
from app.kernel.ids import new_id
from app.tables.image import Image
from app.tables.run import Run
from app.workspaces import repository as workspaces
from tests.databases import own_database
from tests.environments.index import PackageIndex
from tests.live_api import LiveApi, live_api
from workers.reconcile_image import ImageReconciler
from workers.reconciler import Reconciler

pytestmark = pytest.mark.anyio
REPOSITORY = Path(__file__).parent.parent.parent
OWN = f"3.{sys.version_info.minor}"


def image_reconcilers(app: FastAPI) -> Sequence[Reconciler]:
    state = app.state
    return [ImageReconciler(state.database, state.objects, state.settings)]


@pytest.fixture
async def api(
    tmp_path: Path, postgres_url: str, broker_url: str, index: PackageIndex
) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url, reconcilers=image_reconcilers) as api:
        yield api


@pytest.fixture
def package(index: PackageIndex) -> str:
    """A package that no other test of this session has an image of."""
    name = "p" + os.urandom(4).hex()
    index.add(name, "1.0")
    return name


async def ask_for(api: LiveApi, *lines: str) -> str:
    """Hash of the image for these packages, asked for as a run's submission does."""
    async with api.database.session() as session:
        workspace = await workspaces.get(session, api.workspace)
        spec = EnvironmentSpec(pip_packages=list(lines))
        image, _ = await service.ensure_image(session, api.settings, workspace, spec)
        return image.id


async def wait_for(
    api: LiveApi, image_hash: str, condition: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    async with asyncio.timeout(100):
        while True:
            image = (await api.client.get(f"/images/{image_hash}")).json()
            if condition(image):
                return dict(image)
            await asyncio.sleep(0.05)


async def ended(api: LiveApi, image_hash: str) -> dict[str, Any]:
    return await wait_for(api, image_hash, lambda one: one["state"] in ("Ready", "Failed"))


async def test_many_requests_at_once_share_one_build(
    api: LiveApi, index: PackageIndex, package: str
) -> None:
    hashes = await asyncio.gather(*(ask_for(api, package) for _ in range(8)))
    assert len(set(hashes)) == 1
    image = await ended(api, hashes[0])
    assert (image["state"], image["build_number"]) == ("Ready", 1)
    assert image["packages"] == {package: "1.0"}
    assert f"{package}==1.0" in image["lock"]
    downloads = [path for path in index.requests if path.startswith(f"/files/{package}-")]
    requests_before = len(index.requests)
    assert downloads
    assert await ask_for(api, package.upper()) == hashes[0]
    assert (await ended(api, hashes[0]))["build_number"] == 1
    assert len(index.requests) == requests_before, "a second request builds nothing"


async def test_the_log_is_followed_while_it_is_made_and_sealed_at_the_end(
    api: LiveApi, index: PackageIndex, package: str
) -> None:
    index.open.clear()
    image_hash = await ask_for(api, package)
    following = asyncio.create_task(
        api.client.get(f"/images/{image_hash}/logs", params={"follow": True})
    )
    await wait_for(api, image_hash, lambda one: bool(one["state"] == "Building"))
    assert await asyncio.to_thread(index.asked_while_closed.wait, 20)
    index.open.set()
    async with asyncio.timeout(30):
        followed = await following
    assert f"Resolving {package}" in followed.text
    assert f" + {package}==1.0" in followed.text
    await ended(api, image_hash)
    whole = await api.client.get(f"/images/{image_hash}/logs")
    assert whole.text == followed.text
    assert whole.headers["log-sealed"] == "true"
    later = await api.client.get(f"/images/{image_hash}/logs", params={"offset": 10})
    assert later.text == whole.text[10:]
    last = await api.client.get(f"/images/{image_hash}/logs", params={"tail": 1})
    assert last.text == whole.text.splitlines(keepends=True)[-1]
    found = await api.client.get(
        f"/images/{image_hash}/logs",
        params={"grep": r"^ \+ "},
        headers={"Accept": "application/x-ndjson"},
    )
    assert [json.loads(line)["text"] for line in found.text.splitlines()] == [
        line for line in whole.text.splitlines() if line.startswith(" + ")
    ]


async def test_a_failure_is_explained_and_the_next_request_tries_again(
    api: LiveApi, index: PackageIndex, package: str
) -> None:
    image_hash = await ask_for(api, f"{package}==2.0")
    image = await ended(api, image_hash)
    assert image["state"] == "Failed"
    assert image["error"]["code"] == "resolution_failed"
    assert f"there is no version of {package}==2.0" in image["error"]["message"]
    assert "no version of" in (await api.client.get(f"/images/{image_hash}/logs")).text
    index.add(package, "2.0")
    # uv holds an index page for ten minutes; a user's next try comes later than that.
    os.environ["UV_NO_CACHE"] = "1"
    try:
        assert await ask_for(api, f"{package}==2.0") == image_hash
        image = await wait_for(api, image_hash, lambda one: bool(one["state"] == "Ready"))
    finally:
        del os.environ["UV_NO_CACHE"]
    assert (image["error"], image["build_number"]) == (None, 2)
    first = await api.client.get(f"/images/{image_hash}/logs", params={"build": 1})
    assert "no version of" in first.text


async def test_an_image_says_what_differs_from_the_nearest_earlier_one(
    api: LiveApi, package: str
) -> None:
    first = await ask_for(api, package)
    assert (await ended(api, first))["built_because"] is None
    second = await ask_for(api, package, "fish")
    because = (await ended(api, second))["built_because"]
    assert because == {
        "nearest_hash": first,
        "differences": [{"input": "requirements", "added": ["fish"], "removed": []}],
    }
    listed = (await api.client.get("/images")).json()["items"]
    assert {one["hash"] for one in listed} == {first, second}


async def test_another_workspace_does_not_see_the_image(
    api: LiveApi, postgres_url: str, broker_url: str, package: str, tmp_path: Path
) -> None:
    image_hash = await ask_for(api, package)
    await ended(api, image_hash)
    async with live_api(tmp_path, postgres_url, broker_url) as other:
        answer = await other.client.get(f"/images/{image_hash}")
    assert (answer.status_code, answer.json()["code"]) == (404, "image_not_found")


@contextmanager
def worker(
    data_dir: Path, postgres_url: str, broker_url: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker process of its own."""
    settings = {
        "TRAINWRIGHT_DATA_DIR": str(data_dir),
        "TRAINWRIGHT_DATABASE_URL": postgres_url,
        "TRAINWRIGHT_BROKER_URL": broker_url,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.environments.image_worker"],
        cwd=REPOSITORY,
        env={**os.environ, **settings},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.fault(5)
async def test_a_worker_killed_in_the_middle_of_a_build(
    tmp_path: Path, postgres_url: str, broker_url: str, index: PackageIndex, package: str
) -> None:
    async with own_database(postgres_url) as url, live_api(tmp_path, url, broker_url) as api:
        index.open.clear()
        image_hash = await ask_for(api, package)
        with worker(tmp_path, url, broker_url) as process:
            assert await asyncio.to_thread(index.asked_while_closed.wait, 40)
            tools = psutil.Process(process.pid).children(recursive=True)
            assert tools
            process.send_signal(signal.SIGKILL)
            process.wait()
        _, alive = await asyncio.to_thread(psutil.wait_procs, tools, timeout=10)
        assert not alive, "uv ends with its worker"
        assert (await api.client.get(f"/images/{image_hash}")).json()["state"] == "Building"
        left_behind = list((tmp_path / "images" / image_hash).iterdir())
        index.open.set()
        with worker(tmp_path, url, broker_url):
            image = await ended(api, image_hash)
        assert (image["state"], image["build_number"]) == ("Ready", 2)
        folders = list((tmp_path / "images" / image_hash).iterdir())
        assert len(left_behind) == len(folders) == 1
        assert folders != left_behind
        for build in (1, 2):
            log = await api.client.get(f"/images/{image_hash}/logs", params={"build": build})
            assert log.headers["log-sealed"] == "true"


def tools_of(worker: int) -> set[int]:
    """The processes of uv that a worker has."""
    found = set()
    for process in psutil.Process(worker).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == "uv":
                found.add(process.pid)
    return found


async def lease_of(api: LiveApi, image_hash: str) -> tuple[str | None, datetime, datetime]:
    """Whose turn it is to look at an image, until when, and what time it is in the database."""
    found = select(Image.lease_token, Image.lease_expires_at, func.clock_timestamp())
    async with api.database.session() as session:
        row = (await session.execute(found.where(Image.id == image_hash))).one()
    return row[0], row[1], row[2]


@pytest.mark.slow
async def test_two_workers_share_one_build(
    tmp_path: Path, postgres_url: str, broker_url: str, index: PackageIndex, package: str
) -> None:
    # Workers take whatever is due, and so what other tests left in the database that they share.
    async with own_database(postgres_url) as url, live_api(tmp_path, url, broker_url) as api:
        index.open.clear()
        hashes = await asyncio.gather(*(ask_for(api, package) for _ in range(8)))
        with (
            worker(tmp_path, url, broker_url) as first,
            worker(tmp_path, url, broker_url) as second,
        ):
            assert await asyncio.to_thread(index.asked_while_closed.wait, 40)
            # Longer than a lease, which the one extends and the other would take; both poll.
            token, ends_at, now = await lease_of(api, hashes[0])
            assert token is not None
            while now <= ends_at:
                assert len(tools_of(first.pid) | tools_of(second.pid)) <= 1
                await asyncio.sleep(0.1)
                holder, _, now = await lease_of(api, hashes[0])
                assert holder == token
            hashes += await asyncio.gather(*(ask_for(api, package) for _ in range(8)))
            index.open.set()
            image = await ended(api, hashes[0])
        assert set(hashes) == {image["hash"]}
        assert (image["state"], image["build_number"]) == ("Ready", 1)
        assert len(list((tmp_path / "images" / image["hash"]).iterdir())) == 1


async def test_an_image_in_use_stays_and_a_removed_one_comes_back_the_same(
    api: LiveApi, index: PackageIndex, package: str
) -> None:
    image_hash = await ask_for(api, package)
    await ended(api, image_hash)
    run_id = await add_run(api, image_hash)
    refused = await api.client.delete(f"/images/{image_hash}")
    assert (refused.status_code, refused.json()["code"]) == (409, "image_in_use")
    await end_run(api, run_id)
    assert (await api.client.delete(f"/images/{image_hash}")).status_code == 204
    folder = api.settings.data_dir / "images" / image_hash
    async with asyncio.timeout(20):
        while folder.exists():
            await asyncio.sleep(0.05)
    index.add(package, "1.1")
    assert await ask_for(api, package) == image_hash
    image = await wait_for(api, image_hash, lambda one: bool(one["state"] == "Ready"))
    assert image["packages"] == {package: "1.0"}, "unpinned packages stay as first built"


async def test_an_image_that_is_deleted_while_it_is_built_stays_so_until_it_is_wanted(
    api: LiveApi, index: PackageIndex, package: str
) -> None:
    folder = api.settings.data_dir / "images"
    image_hash = await begin_build(api, index, package)
    assert (await api.client.delete(f"/images/{image_hash}")).status_code == 204
    index.open.set()
    async with asyncio.timeout(30):
        log = f"/images/{image_hash}/logs"
        while (await api.client.get(log)).headers["log-sealed"] == "false":
            await asyncio.sleep(0.05)
        while (folder / image_hash).exists():
            await asyncio.sleep(0.05)
    assert (await api.client.get(f"/images/{image_hash}")).json()["state"] == "Deleted"

    assert await ask_for(api, package) == image_hash
    image = await ended(api, image_hash)
    assert (image["state"], image["build_number"]) == ("Ready", 2)


async def test_an_image_that_is_wanted_again_while_it_is_built_is_there_in_the_end(
    api: LiveApi, index: PackageIndex, package: str
) -> None:
    image_hash = await begin_build(api, index, package)
    assert (await api.client.delete(f"/images/{image_hash}")).status_code == 204
    await ask_for(api, package)
    index.open.set()
    image = await ended(api, image_hash)
    # Whoever asked again was told of the second build, which finds what the first has made.
    assert (image["state"], image["build_number"]) == ("Ready", 2)
    log = await api.client.get(f"/images/{image_hash}/logs")
    assert "nothing to build" in log.text


async def begin_build(api: LiveApi, index: PackageIndex, package: str) -> str:
    """Hash of an image whose build waits for the index."""
    index.asked_while_closed.clear()
    index.open.clear()
    image_hash = await ask_for(api, package)
    assert await asyncio.to_thread(index.asked_while_closed.wait, 20)
    return image_hash


async def test_unused_images_are_removed_after_the_days_to_keep_them(
    tmp_path: Path, postgres_url: str, broker_url: str, index: PackageIndex, package: str
) -> None:
    two_seconds = 2 / 86400
    async with live_api(
        tmp_path,
        postgres_url,
        broker_url,
        reconcilers=image_reconcilers,
        image_keep_days=two_seconds,
    ) as api:
        used, unused = await ask_for(api, package), await ask_for(api, package, "fish")
        run_id = await add_run(api, used)
        await wait_for(api, unused, lambda one: bool(one["state"] == "Deleted"))
        async with asyncio.timeout(20):
            while (tmp_path / "images" / unused).exists():
                await asyncio.sleep(0.05)
        assert (await ended(api, used))["state"] == "Ready"
        await end_run(api, run_id)
        await wait_for(api, used, lambda one: bool(one["state"] == "Deleted"))


async def test_an_images_folder_emptied_by_hand_is_noticed(api: LiveApi, package: str) -> None:
    image_hash = await ask_for(api, package)
    await ended(api, image_hash)
    (api.settings.data_dir / "images" / image_hash).rename(api.settings.data_dir / "elsewhere")
    await ask_for(api, package)
    image = await wait_for(api, image_hash, lambda one: bool(one["state"] == "Ready"))
    assert image["build_number"] == 2


async def add_run(api: LiveApi, image_hash: str) -> str:
    """A run with this image that has not ended."""
    async with api.database.session() as session:
        workspace = await workspaces.get(session, api.workspace)
        experiment, _ = await experiments.get_or_create(session, workspace.id, "digits")
        run = Run(
            id=new_id("run"),
            workspace_id=workspace.id,
            experiment_id=experiment.id,
            image_id=image_hash,
            created_by="test",
            request={},
            max_attempts=1,
            node_count=1,
        )
        session.add(run)
        return run.id


async def end_run(api: LiveApi, run_id: str) -> None:
    async with api.database.session() as session:
        statement = update(Run).where(Run.id == run_id).values(ended_at=func.clock_timestamp())
        await session.execute(statement)


@pytest.mark.fault(10)
async def test_an_image_that_cannot_be_looked_at_says_so_until_it_can(
    api: LiveApi, package: str
) -> None:
    async with api.database.session() as session:
        workspace = await workspaces.get(session, api.workspace)
        spec = EnvironmentSpec(pip_packages=[package])
        image, _ = await service.ensure_image(session, api.settings, workspace, spec)
        whole = dict(image.spec)
        image.spec = {**whole, "requirements": 5}
        image_hash = image.id

    shown = await wait_for(api, image_hash, lambda one: one["error"] is not None)

    assert (shown["state"], shown["error"]["code"]) == ("Queued", "reconcile_failed")
    assert "TypeError" in shown["error"]["message"]
    async with api.database.session() as session:
        await session.execute(update(Image).where(Image.id == image_hash).values(spec=whole))
    built = await ended(api, image_hash)
    assert (built["state"], built["error"]) == ("Ready", None)
