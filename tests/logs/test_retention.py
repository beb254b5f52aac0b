"""Logs go when their workspace keeps them no longer, and their space is freed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.environments.service import BUILD_LOG, build_log_owner
from app.garbage import service as garbage
from app.logs import sealing
from app.logs import service as logs
from app.runs import finalizing, log_retention
from app.runs.decide import Outcome
from app.runs.states import Status
from app.tables.image import WorkspaceImage
from app.tables.log import LogStream
from app.tables.run import Run
from app.tables.workspace import Workspace
from tests.live_api import LiveApi, live_api
from tests.logs.nodes import STDOUT, start_nodes
from tests.made_runs import make_runs
from workers.expire_logs import LogExpiry

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


def workspace_url(api: LiveApi) -> str:
    return f"http://api/v1/workspaces/{api.workspace}"


async def ended_run(api: LiveApi, text: bytes, *, days_ago: float) -> str:
    """A run that printed this, and ended so long ago."""
    (run,) = await make_runs(api, 1)
    (node,) = await start_nodes(api, run, 1)
    await node.send(text, offset=0)
    async with api.database.session() as session:
        await session.execute(update(Run).where(Run.id == run).values(status=Status.FINALIZING))

    async def owned(session: AsyncSession) -> None:
        """The run is ours."""

    await finalizing.publish_and_end(
        api.database, api.objects, owned, run_id=run, end=Outcome(Status.COMPLETED)
    )
    ago = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, int(days_ago * 24))
    async with api.database.session() as session:
        await session.execute(update(Run).where(Run.id == run).values(ended_at=ago))
    return run


async def test_old_logs_are_gone_and_say_so(api: LiveApi) -> None:
    old = await ended_run(api, b"old words\n" * 1000, days_ago=8)
    new = await ended_run(api, b"new words\n" * 1000, days_ago=6)
    expiry = LogExpiry(api.database)
    await expiry.look()
    assert (await api.client.get(f"runs/{old}/logs")).status_code == 200

    changed = await api.client.patch(workspace_url(api), json={"log_retention_days": 7})
    assert changed.json()["log_retention_days"] == 7
    await expiry.look()

    for given in ({}, {"tail": 3}, {"stream": STDOUT}, {"follow": "true"}):
        answer = await api.client.get(f"runs/{old}/logs", params=given)
        assert (answer.status_code, answer.json()["code"]) == (410, "log_expired")
    streams = (await api.client.get(f"runs/{old}/logs/streams")).json()["items"]
    assert [(s["length_bytes"], s["expired_at"] is None) for s in streams] == [(10_000, False)] * 2
    names = [f["path"] for f in (await api.client.get(f"runs/{old}/files")).json()["items"]]
    assert STDOUT not in names
    file = await api.client.get(f"runs/{old}/files/{STDOUT}")
    assert (file.status_code, file.json()["code"]) == (410, "log_expired")
    async with api.database.session() as session:
        # Another worker that found it ripe, too; and one whose run was deleted meanwhile.
        for run_id in (old, "run_deleted"):
            await log_retention.expire(session, run_id, actor="worker")
    events = (await api.client.get(f"runs/{old}/events")).json()["items"]
    assert [event["type"] for event in events].count("logs_expired") == 1
    assert (await api.client.get(f"runs/{new}/logs")).text == "new words\n" * 1000
    digest = streams[1]["sha256"]
    assert await api.objects.exists(digest)
    await garbage.collect(api.database, api.objects, unused_for_seconds=0)
    assert not await api.objects.exists(digest)
    assert (await api.client.get(f"runs/{new}/logs")).text == "new words\n" * 1000


@pytest.mark.fault(10)
async def test_a_run_whose_rows_are_wrong_keeps_no_others_logs(api: LiveApi) -> None:
    wrong, right = [await ended_run(api, b"words\n", days_ago=8) for _ in range(2)]
    row = update(Run).where(Run.id == wrong)
    async with api.database.session() as session:
        last = await session.scalar(select(Run.event_seq).where(Run.id == wrong))
        await session.execute(row.values(event_seq=0))  # its next event has a number that is taken
    await api.client.patch(workspace_url(api), json={"log_retention_days": 7})
    expiry = LogExpiry(api.database)

    await expiry.look()

    assert (await api.client.get(f"runs/{right}/logs")).status_code == 410
    assert (await api.client.get(f"runs/{wrong}/logs")).status_code == 200
    async with api.database.session() as session:
        await session.execute(row.values(event_seq=last))
    await expiry.look()
    assert (await api.client.get(f"runs/{wrong}/logs")).status_code == 410


async def test_a_builds_log_goes_when_no_workspace_keeps_it(api: LiveApi) -> None:
    (run,) = await make_runs(api, 1)
    image = (await api.client.get(f"runs/{run}")).json()["image_hash"]
    # What a run of another workspace waits for, is the same image.
    other = f"{workspace_url(api)}-more"
    assert (await api.client.put(other, json={})).status_code == 201
    number = 900_000 + int(api.workspace[-5:], 16)  # of a build that is of this test alone
    owner = build_log_owner(image, number)
    ago = func.clock_timestamp() - func.make_interval(0, 0, 0, 8)
    async with api.database.session() as session:
        workspace = select(Workspace.id).where(Workspace.name == f"{api.workspace}-more")
        other_id = (await session.execute(workspace)).scalar_one()
        session.add(WorkspaceImage(workspace_id=other_id, image_id=image))
        # Other tests share this image, and have no limit.
        await session.execute(
            delete(WorkspaceImage).where(
                WorkspaceImage.image_id == image,
                WorkspaceImage.workspace_id.not_in(
                    select(Workspace.id).where(Workspace.name.startswith(api.workspace))
                ),
            )
        )
        await logs.append(session, owner, BUILD_LOG, b"built\n")
    await sealing.seal(api.database, api.objects, owner)
    async with api.database.session() as session:
        streams = update(LogStream).where(LogStream.owner == owner)
        await session.execute(streams.values(created_at=ago))
    expiry = LogExpiry(api.database)

    async def is_kept() -> bool:
        await expiry.look()
        async with api.database.session() as session:
            kept = select(LogStream.expired_at).where(LogStream.owner == owner)
            found = set((await session.execute(kept)).scalars())
        return found == {None}

    assert await is_kept()
    await api.client.patch(workspace_url(api), json={"log_retention_days": 7})
    assert await is_kept()
    await api.client.patch(other, json={"log_retention_days": 9})
    assert await is_kept()
    await api.client.patch(other, json={"log_retention_days": 7})
    assert not await is_kept()


@pytest.mark.parametrize("days", [0, -1, 1.5, 10**9])
async def test_a_time_that_cannot_be_kept_is_refused(api: LiveApi, days: float) -> None:
    answer = await api.client.patch(workspace_url(api), json={"log_retention_days": days})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/log_retention_days"
