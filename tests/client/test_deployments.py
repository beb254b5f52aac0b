"""Commands about deployments, as far as they go without a replica."""

import asyncio
import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.blobs import repository as blobs
from app.kernel.clock import utc_now
from app.tables.capture import CaptureFile
from app.tables.deployment import Deployment
from app.tables.model import Model, ModelVersion
from app.tables.workspace import Workspace
from tests.client.program import Program
from tests.served import Served
from trainwright.connection import Connection

Ask = Callable[..., Any]


@pytest.fixture
def model(served: Served, connection: Connection) -> str:
    """Return the name of a model with a version that can be deployed."""
    name = f"m-{uuid.uuid4().hex[:16]}"

    async def make() -> None:
        async with served.api.database.session() as session:
            found = select(Workspace.id).where(Workspace.name == connection.workspace)
            workspace_id = (await session.scalars(found)).one()
            session.add(Model(id=name, workspace_id=workspace_id, name=name))
            await session.flush()
            session.add(
                ModelVersion(
                    id=f"{name}-1", model_id=name, version=1, framework="TensorFlow",
                    kind="saved_model", size_bytes=1, created_by="test",
                    files=[{"path": "saved_model.pb", "sha256": "0" * 64, "size_bytes": 1}],
                )
            )  # fmt: skip

    asyncio.run_coroutine_threadsafe(make(), served.loop).result(60)
    return name


@pytest.fixture
def ask(program: Program) -> Ask:
    """Return a function that runs a command and reads what it prints."""
    return lambda *words: json.loads(program.run(*words, "--json").stdout)


def test_a_deployment_is_told_how_to_scale_and_what_it_takes_on(
    program: Program, ask: Ask, model: str
) -> None:
    deploy = ("deploy", "blue", model, "--no-wait")

    found = ask(
        *deploy, "--min-replicas=0", "--max-replicas=3", "--target-concurrency=2",
        "--max-body-bytes=9000", "--max-waiting=7", "--timeout-seconds=5", "--memory-gb=1",
    )  # fmt: skip

    assert found["autoscale"] == {
        "min_replicas": 0, "max_replicas": 3, "target_concurrency": 2.0, "idle_seconds": 300.0,
    }  # fmt: skip
    assert found["limits"] == {"max_body_bytes": 9000, "max_waiting": 7, "timeout_seconds": 5.0}
    assert found["resource_configuration"]["memory_gb"] == 1.0
    assert "--max-replicas" in program.run(*deploy, "--min-replicas=1", code=2).stderr
    refused = program.run("deployment", "rollback", "blue", code=3)
    assert "has not been healthy" in refused.stderr


def test_traffic_is_shared_shown_and_taken_back(program: Program, ask: Ask, model: str) -> None:
    for name in ("blue", "green", "next"):
        program.run("deploy", name, model, "--no-wait")

    shared = ask("deployment", "traffic", "blue", "--share=green=10", "--shadow=next=50.5")

    assert shared == {"shares": {"green": 10.0}, "shadow": {"next": 50.5}}
    assert ask("deployment", "traffic", "blue") == shared
    shown = program.run("deployment", "traffic", "blue").stdout
    assert [line.split()[:2] for line in shown.splitlines()[1:]] == [
        ["blue", "90.0"], ["green", "10.0"], ["next", "50.5"],
    ]  # fmt: skip
    program.run("deployment", "traffic", "blue", "--share=green", code=2)
    assert ask("deployment", "traffic", "blue", "--clear") == {"shares": {}, "shadow": {}}


def test_one_key_is_replaced_and_the_other_stays(program: Program, ask: Ask, model: str) -> None:
    program.run("deploy", "blue", model, "--no-wait")
    before = ask("deployment", "keys", "blue")

    after = ask("deployment", "regenerate-key", "blue", "secondary")

    assert after["primary"] == before["primary"]
    assert after["secondary"] != before["secondary"]
    assert ask("deployment", "keys", "blue") == after


def test_captured_predictions_are_listed_fetched_and_registered(
    program: Program, ask: Ask, model: str, served: Served, tmp_path: Path
) -> None:
    made = ask("deploy", "blue", model, "--no-wait", "--capture-percent=20")
    line = b'{"request": 1}\n'

    async def capture() -> None:
        stored = await served.api.objects.put_bytes(line)
        async with served.api.database.session() as session:
            workspace_id = (await session.get_one(Deployment, made["id"])).workspace_id
            await blobs.add(session, workspace_id, [stored])
            session.add(
                CaptureFile(
                    id=f"cap_{uuid.uuid4().hex}", deployment_id=made["id"], sha256=stored.sha256,
                    size_bytes=stored.size_bytes, record_count=1, first_at=utc_now(),
                    last_at=utc_now(), expires_at=utc_now() + timedelta(days=1),
                )
            )  # fmt: skip

    asyncio.run_coroutine_threadsafe(capture(), served.loop).result(60)

    assert (made["data_capture"]["percent"], made["data_capture"]["keep_days"]) == (20.0, 30.0)
    (file,) = ask("deployment", "capture", "list", "blue")
    program.run("deployment", "capture", "download", "blue", f"--to={tmp_path / 'kept'}")
    assert (tmp_path / "kept" / file["path"]).read_bytes() == line
    version = ask("deployment", "capture", "register", "blue", "asked", "--after=2026-01-01")
    assert (version["name"], version["version"], version["files_count"]) == ("asked", 1, 1)
