"""The previous release's API and worker do their work on the newest schema, beside the new API."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread
import httpx2
import pytest

from examples.walk.talk import Talk
from tests.conftest import REPOSITORY
from tests.databases import own_database
from tests.e2e import scripts
from tests.live_api import LiveApi, live_api

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(500)]

SCRIPT = """
from azureml.core import Run
run = Run.get_context()
run.log("loss", 0.5)
open("outputs/done.txt", "w").write("done")
"""


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the last release."""
    if git("rev-parse", "--is-shallow-repository") != "false":
        pytest.skip("the history of the repository is not here")
    commit = git("log", "-1", "--format=%H", "--", "openapi/released.json")
    if not commit:
        pytest.skip("the history of the repository is not here")
    folder = tmp_path_factory.mktemp("previous")
    archive = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, capture_output=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


@pytest.fixture
async def new(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    """The new API."""
    async with (
        own_database(postgres_url) as url,
        live_api(tmp_path / "data", url, broker_url) as api,
    ):
        yield api


@contextmanager
def started(code: Path, settings: dict[str, str], log: Path, *words: str) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", *words],
            cwd=code,
            env={**os.environ, "PYTHONPATH": f"{code}:{code / 'client'}", **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
        assert process.poll() is None, log.read_text()[-2000:]
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + 240
    while True:
        try:
            if httpx2.get(f"{address}/readyz", timeout=5, trust_env=False).is_success:
                return
        except httpx2.TransportError:
            pass
        assert time.monotonic() < deadline, "the previous release does not answer"
        time.sleep(0.1)


def through_the_old_api(address: str, token: str, workspace: str) -> str:
    """Submit a run, follow it to its end and read what it made; its id."""
    wait_until_ready(address)
    talk = Talk(address, token, is_silent=True)
    try:
        body = {"vm_size": "SMALL", "max_nodes": 1}
        path = f"/v1/workspaces/{workspace}"
        talk.ask("PUT", f"{path}/clusters/cpu", body=body, expect=(200, 201))
        run_id = scripts.submit(talk, SCRIPT, workspace=workspace)
        run = scripts.await_status(talk, run_id, "Completed", workspace=workspace, seconds=150)
        assert run["error"] is None
        made = talk.client.get(
            f"{path}/runs/{run_id}/files/outputs/done.txt", headers=talk.authorization()
        )
        assert made.text == "done"
        return run_id
    finally:
        talk.close()


@pytest.mark.fault(11)
async def test_the_previous_release_works_beside_the_new_api(
    previous: Path, new: LiveApi, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    settings = {
        "TRAINWRIGHT_DATABASE_URL": new.settings.database_url.get_secret_value(),
        "TRAINWRIGHT_BROKER_URL": new.settings.broker_url.get_secret_value(),
        "TRAINWRIGHT_DATA_DIR": str(new.settings.data_dir),
        "TRAINWRIGHT_PUBLIC_URL": address,
    }
    token = new.client.headers["authorization"].removeprefix("Bearer ")
    with (
        started(previous, settings, tmp_path / "api.log", "app.cli", "api", f"--port={port}"),
        started(previous, settings, tmp_path / "worker.log", "app.cli", "worker"),
    ):
        run_id = await anyio.to_thread.run_sync(through_the_old_api, address, token, new.workspace)
    run = (await new.client.get(f"runs/{run_id}")).json()
    assert (run["status"], run["attempt"]) == ("Completed", 1)
    (loss,) = (await new.client.get(f"runs/{run_id}/metrics")).json()["items"]
    assert (loss["name"], loss["count"]) == ("loss", 1)
    made = await new.client.get(f"runs/{run_id}/files/outputs/done.txt")
    assert made.content == b"done"
