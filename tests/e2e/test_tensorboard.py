"""A real TensorBoard on the event files of a run, while it goes on and afterwards."""

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e.scripts import await_status, await_true, submit
from tests.pages import examples_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]

WORKSPACE = "boards"
SCRIPT = """
import base64, os, pathlib, time
events = base64.b64decode(os.environ["EVENTS"])
half = int(os.environ["HALF"])
for folder in ("logs/train", "outputs/train"):
    pathlib.Path(folder).mkdir(parents=True)
with open("logs/train/events.out.tfevents.1.host", "wb", buffering=0) as file:
    file.write(events[:half])
    while not os.path.exists(os.environ["GO_ON"]):
        time.sleep(0.05)
    file.write(events[half:])
pathlib.Path("outputs/train/events.out.tfevents.1.host").write_bytes(events)
"""


def event_file(folder: Path, steps: int) -> tuple[bytes, int]:
    """An event file with a scalar at every step, and its length at half of them."""
    writer = EventFileWriter(str(folder))
    half = 0
    (path,) = folder.iterdir()
    for step in range(steps):
        if step == steps // 2:
            writer.flush()
            half = path.stat().st_size
        value = Summary.Value(tag="loss", simple_value=1 / (step + 1))
        writer.add_event(Event(step=step, wall_time=1e9 + step, summary=Summary(value=[value])))
    writer.close()
    return path.read_bytes(), half


def fetch(talk: Talk, run_id: str, prefix: str, board: Path) -> None:
    """Fetch event files by the commands of the documentation, whose folder is `board`."""
    fetching = examples_of("docs/mlflow.md")[-1].replace("prefix=logs/", f"prefix={prefix}")
    variables = {
        "WS": f"{talk.base}/v1/workspaces/{WORKSPACE}",
        "AUTH": f"Authorization: Bearer {talk.token}",
        "RUN": run_id,
    }
    subprocess.run(
        ["sh", "-euc", fetching],
        cwd=board.parent,
        env={**os.environ, **variables},
        check=True,
        timeout=60,
    )


@contextmanager
def tensorboard(board: Path) -> Iterator[str]:
    """A real TensorBoard on a folder; the address of its scalars."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(board), "--port", "0"]
    options = ["--bind_all", "--reload_interval", "1", "--load_fast", "false"]
    said = board.with_name("said.txt")
    with said.open("wb") as file:
        process = subprocess.Popen([*command, *options], stdout=file, stderr=subprocess.STDOUT)
    try:
        await_true(lambda: re.search(r"http://\S+", said.read_text()) is not None, seconds=90)
        found = re.search(r"http://[^:\s]+:(\d+)", said.read_text())
        assert found is not None, said.read_text()
        yield f"http://127.0.0.1:{found[1]}/data/plugin/scalars/scalars"
    finally:
        process.terminate()
        process.wait(timeout=30)


def steps_of(scalars: str, series: str) -> list[int]:
    """The steps that TensorBoard shows; none while it has not read the series."""
    try:
        with urlopen(f"{scalars}?tag=loss&run={series}") as answer:  # noqa: S310  (our own)
            return [step for _, step, _ in json.load(answer)]
    except OSError:
        return []


def test_event_files_are_read_while_the_run_goes_on_and_afterwards(
    live_stack: Stack, tmp_path: Path
) -> None:
    talk = Talk(live_stack.address, live_stack.token, is_silent=True)
    talk.ask("PUT", f"/v1/workspaces/{WORKSPACE}", expect=(200, 201))
    cluster = f"/v1/workspaces/{WORKSPACE}/clusters/cpu"
    talk.ask("PUT", cluster, body={"vm_size": "SMALL"}, expect=(200, 201))
    events, half = event_file(tmp_path / "made", steps=20)
    go_on = tmp_path / "go-on"
    variables = {
        "EVENTS": base64.b64encode(events).decode(), "HALF": str(half), "GO_ON": str(go_on),
    }  # fmt: skip
    run_id = submit(talk, SCRIPT, workspace=WORKSPACE, environment_variables=variables)
    await_status(talk, run_id, "Running", workspace=WORKSPACE)
    board = tmp_path / "board"

    def has_half() -> bool:
        fetch(talk, run_id, "logs/", board)
        found = list(board.rglob("events.out.tfevents*"))
        return bool(found) and found[0].stat().st_size == half

    await_true(has_half)
    with tensorboard(board) as scalars:
        await_true(lambda: steps_of(scalars, "logs/train") == list(range(10)), seconds=60)
        go_on.touch()
        await_status(talk, run_id, "Completed", workspace=WORKSPACE)
        fetch(talk, run_id, "logs/", board)
        fetch(talk, run_id, "outputs/", board)
        deadline = time.monotonic() + 60
        for series in ("logs/train", "outputs/train"):
            while steps_of(scalars, series) != list(range(20)):
                assert time.monotonic() < deadline, "TensorBoard does not show all steps"
                time.sleep(0.1)
    talk.close()
