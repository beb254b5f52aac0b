"""A stack is saved while it works, destroyed, and brought back elsewhere: everything goes on."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.conftest import REPOSITORY
from tests.e2e import scripts
from tests.serving import onnx_models

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

WS = "/v1/workspaces/saved"
PREDICTED = {"predictions": [[6.0, 9.0, 12.0]]}
MAKING = """
open("outputs/big.bin", "wb").write(bytes(range(256)) * 20_000)
print("made")
"""
WAITING = """
import pathlib, sys, time
print("started", flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.1)
open("outputs/done.txt", "w").write("done")
"""

submit = partial(scripts.submit, workspace="saved")
await_status = partial(scripts.await_status, workspace="saved")


def command(stack: Stack, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *words],
        cwd=REPOSITORY,
        env={**os.environ, "TRAINWRIGHT_DATA_DIR": str(stack.data_dir)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def destroy(stack: Stack) -> None:
    """Take away all processes and the folder, as a machine that burns does."""
    stack.crash()
    deadline = time.monotonic() + 60
    while stack.data_dir.exists():
        for process in psutil.process_iter():
            try:
                if any(str(stack.data_dir) in word for word in (process.cwd(), *process.cmdline())):
                    process.kill()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        shutil.rmtree(stack.data_dir, ignore_errors=True)
        assert time.monotonic() < deadline


def predicted(talk: Talk) -> Any:
    answer = talk.client.post(
        f"{WS}/deployments/product/score",
        json={"instances": [[1.0, 2.0]]},
        headers=talk.authorization(),
    )
    return answer.json() if answer.status_code == 200 else answer.status_code


def files_of(talk: Talk, run_id: str) -> dict[str, str]:
    """The digest of each of the run's outputs, of the bytes as they are served."""
    found = {}
    for file in talk.get(f"{WS}/runs/{run_id}/files?prefix=outputs/")["items"]:
        answer = talk.client.get(
            f"{WS}/runs/{run_id}/files/{file['path']}", headers=talk.authorization()
        )
        assert answer.status_code == 200
        found[file["path"]] = hashlib.sha256(answer.content).hexdigest()
    return found


def log_of(talk: Talk, run_id: str) -> str:
    return talk.client.get(f"{WS}/runs/{run_id}/logs", headers=talk.authorization()).text


def make_outputs(talk: Talk) -> str:
    """A completed run with a large output; its id."""
    run_id = submit(talk, MAKING)
    await_status(talk, run_id, "Completed", seconds=300)
    return run_id


def deploy(talk: Talk) -> None:
    """Upload a model and deploy it."""
    made = talk.client.put(
        f"{WS}/models/product/archive?filename=product.onnx",
        content=onnx_models.matrix_product(),
        headers=talk.authorization(),
    )
    assert made.status_code == 201, made.text
    talk.ask("PUT", f"{WS}/deployments/product", body={"model_name": "product"}, expect=(200, 201))
    scripts.await_true(lambda: predicted(talk) == PREDICTED, seconds=300)


def test_a_stack_that_was_destroyed_goes_on_from_its_backup(tmp_path: Path) -> None:
    go, folder = tmp_path / "go", tmp_path / "backups"
    first = Stack(tmp_path / "first")
    first.start()
    talk = Talk(first.address, first.token, is_silent=True)
    second = Stack(tmp_path / "second")
    try:
        talk.ask("PUT", WS, expect=(200, 201))
        body = {"vm_size": "SMALL", "max_nodes": 1}
        talk.ask("PUT", f"{WS}/clusters/cpu", body=body, expect=(200, 201))
        completed = make_outputs(talk)
        deploy(talk)
        files, log = files_of(talk, completed), log_of(talk, completed)
        assert "outputs/big.bin" in files
        running = submit(talk, WAITING, arguments=[str(go)])
        await_status(talk, running, "Running")
        queued = submit(talk, WAITING, arguments=[str(go)])
        await_status(talk, queued, "Queued")

        said = command(first, "backup", str(folder), "--with-keys")
        assert "saved" in said
        # What comes later is not in it; of the objects, only what is new is copied.
        late = submit(talk, WAITING, arguments=[str(go)])
        talk.close()
        destroy(first)

        command(second, "restore", str(folder))
        second.token = first.token
        (second.data_dir / "first-token").write_text(first.token)
        second.start()
        talk = Talk(second.address, first.token, is_silent=True)
        assert talk.client.get(f"{WS}/runs/{late}", headers=talk.authorization()).status_code == 404
        assert files_of(talk, completed) == files
        assert log_of(talk, completed) == log
        go.touch()
        assert await_status(talk, running, "Completed")["attempt"] == 2
        assert await_status(talk, queued, "Completed")["attempt"] == 1
        assert files_of(talk, queued) == files_of(talk, running)
        scripts.await_true(lambda: predicted(talk) == PREDICTED, seconds=300)
        for run_id in (running, queued):
            events = talk.get(f"{WS}/runs/{run_id}/events")["items"]
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        talk.ask("DELETE", f"{WS}/deployments/product", expect=(202, 204))
        scripts.await_true(lambda: not list((second.data_dir / "nodes").iterdir()), seconds=60)
    finally:
        talk.close()
        first.stop()
        left = second.stop()
    assert left == []
