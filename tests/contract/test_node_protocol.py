"""What runners send, and much that they never would: nothing of it is an error of the server's.

The node protocol is in no published document: one is made here of its routes.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import select

from app.auth.principal import Principal
from app.nodes.router import router
from app.tables.deployment import Deployment, Replica
from app.tables.image import Image
from app.tables.model import Model, ModelVersion
from app.tables.run import Run
from app.tables.workspace import Workspace
from tests.live_api import LiveApi
from tests.logs.nodes import start_nodes
from tests.made_runs import make_runs
from tests.served import Served, served_api

SECONDS = int(os.environ.get("SCHEMATHESIS_SECONDS", "20"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 280)]


@pytest.fixture(scope="module")
def served(
    postgres_url: str, broker_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("nodes").resolve()
    with served_api(folder, postgres_url, broker_url) as server:
        yield server


def in_loop(served: Served, work: Coroutine[Any, Any, str]) -> str:
    return asyncio.run_coroutine_threadsafe(work, served.loop).result(60)


async def node_of_a_run(api: LiveApi) -> str:
    (run_id,) = await make_runs(api, 1)
    async with api.database.session() as session:
        image = Image(id=f"img-{uuid.uuid4().hex}", spec={}, state="Ready", python=sys.executable)
        session.add(image)
        await session.flush()
        run = await session.get_one(Run, run_id)
        run.image_id, run.status = image.id, "Running"
    (node,) = await start_nodes(api, run_id, 1)
    return node.headers["Authorization"]


async def node_of_a_replica(api: LiveApi) -> str:
    name = f"d-{uuid.uuid4().hex[:16]}"
    async with api.database.session() as session:
        found = select(Workspace.id).where(Workspace.name == api.workspace)
        workspace_id = (await session.scalars(found)).one()
        session.add(Image(id=name, spec={}, state="Ready", python=sys.executable))
        session.add(Model(id=name, workspace_id=workspace_id, name=name))
        await session.flush()
        version = ModelVersion(
            id=f"{name}-1", model_id=name, version=1, framework="TensorFlow", kind="saved_model",
            files=[{"path": "m/saved_model.pb", "sha256": "0" * 64, "size_bytes": 1}],
            size_bytes=1, created_by="test",
        )  # fmt: skip
        session.add(version)
        await session.flush()
        deployment = Deployment(
            id=name, workspace_id=workspace_id, name=name, model_version_id=version.id,
            image_id=name, replica_count=1, next_check_at=None,
        )  # fmt: skip
        session.add(deployment)
        await session.flush()
        replica = Replica(name=f"tw-{name}-g1-r0-1", deployment_id=name, generation=1, index=0)
        session.add(replica)
    token = api.app.state.signer.issue(
        Principal(kind="node", id=replica.name, name="node", workspace_id=workspace_id, attempt=1)
    )
    return f"Bearer {token}"


def document() -> dict[str, Any]:
    app = FastAPI()
    for route in router.routes:
        assert isinstance(route, APIRoute)
        app.add_api_route(route.path, route.endpoint, methods=sorted(route.methods or ()))
    found = app.openapi()
    found["paths"]["/v1/node/logs"]["post"] |= {"requestBody": binary()}
    found["paths"]["/v1/node/blobs/{sha256}"]["put"] |= {"requestBody": binary()}
    found["paths"]["/v1/node/blobs/{sha256}/partial"]["patch"] |= {"requestBody": binary()}
    return found


def binary() -> dict[str, Any]:
    schema = {"type": "string", "format": "binary"}
    return {"required": True, "content": {"application/octet-stream": {"schema": schema}}}


ODD_EVENTS = [
    {"event": "ready", "address": 5, "ports": [1]},
    {"event": "ready", "address": "127.0.0.1", "ports": 5},
    {"event": "ready", "address": "127.0.0.1", "ports": ["x"]},
    {"event": "process_ended", "place": {"a": 1}, "exit_code": "x"},
    {"event": "exited", "processes": "abc"},
    {"event": "exited", "processes": [5]},
    {"event": "exited", "processes": [{"signal": 9999}]},
    {"event": "exited", "processes": [{"signal": 33, "last_lines": ["a\0b"]}], "reason": "\0"},
    {"event": "exited", "processes": [{"exit_code": 10**30, "ended_at": 1e400}]},
    {"event": "failed", "code": [], "message": {"x": 1}},
    {"event": "failed", "code": "\0", "message": "\ud800"},
    {"event": "serving", "port": 80, "body": 5},
    {"event": "serving", "port": 80, "body": {"signature": {"inputs": 5}}},
]


@pytest.mark.parametrize("make", [node_of_a_run, node_of_a_replica])
def test_odd_events_are_refused_or_mended(served: Served, make: Any) -> None:
    headers = {"Authorization": in_loop(served, make(served.api))}
    for event in ODD_EVENTS:
        # As ASCII: JSON can spell what UTF-8 cannot.
        answer = httpx2.post(
            f"{served.address}/v1/node/events",
            content=json.dumps(event).replace("Infinity", "1e400"),
            headers={**headers, "Content-Type": "application/json"},
        )
        assert answer.status_code in (200, 400, 410, 422), (event, answer.text)


@pytest.mark.parametrize("make", [node_of_a_run, node_of_a_replica])
def test_no_node_breaks_the_server(served: Served, tmp_path: Path, make: Any) -> None:
    authorization = in_loop(served, make(served.api))
    (tmp_path / "openapi.json").write_text(json.dumps(document()))
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", "openapi.json"]
    command += ["--url", served.address, "--header", f"Authorization: {authorization}"]
    command += ["--checks", "not_a_server_error", "--phases", "coverage,fuzzing"]
    command += ["--seed", "1", "--workers", "1", "--max-examples", "15", "--no-shrink"]
    command += ["--max-time", str(SECONDS), "--continue-on-failure", "--request-timeout", "30"]
    command += ["--suppress-health-check", "all", "--warnings", "off"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS + 220, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    found = re.search(r"(\d+) generated", done.stdout)
    assert found is not None, done.stdout[-2000:]
    assert int(found[1]) > 5, done.stdout[-2000:]
