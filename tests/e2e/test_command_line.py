"""A stranger with the command line and a whole stack, over a network that breaks."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.walk.stack import Stack
from tests.client.door import Door
from tests.client.program import Program

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPT = """
import sys, time
from azureml.core import Run

run = Run.get_context()
for number in range(60):
    print("line", number, "\\x1b[31m" + "red" + "\\x1b[0m", flush=True)
    run.log("loss", 1 / (number + 1))
    time.sleep(0.1)
open("outputs/big.bin", "wb").write(bytes(range(256)) * 80_000)
open("outputs/größe.txt", "w").write(sys.argv[1])
"""
FAILING = "print('before'); raise SystemExit(7)"


@pytest.fixture
def door(live_stack: Stack) -> Iterator[Door]:
    """Return a way to the stack that can be broken."""
    with Door(live_stack.address) as opened:
        yield opened


@pytest.fixture
def program(live_stack: Stack, door: Door, tmp_path: Path) -> Program:
    """Return the command, through the door, in a workspace of its own."""
    (tmp_path / "home").mkdir()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "count.py").write_text(SCRIPT)
    (folder / "fail.py").write_text(FAILING)
    program = Program(
        tmp_path / "home",
        folder,
        {"TRAINWRIGHT_URL": door.address, "TRAINWRIGHT_TOKEN": live_stack.token},
    )
    program.run("workspace", "create", f"ws-{uuid.uuid4().hex[:12]}")
    program.run("cluster", "create", "cpu", "--vm-size", "STANDARD_D1_V2", "--max-nodes", "1")
    return program


def test_a_run_is_followed_through_outages_and_its_files_are_fetched(
    program: Program, door: Door, tmp_path: Path
) -> None:
    with program.terminal("submit", "-p", "grüße=", "--entry-script", "count.py") as terminal:
        for number in (5, 20, 35):
            terminal.await_text(f"line {number} ", seconds=120)
            door.cut()
        terminal.await_text("is Completed")
        assert terminal.await_end() == 0

    shown = [line.split() for line in terminal.shown.splitlines() if line.startswith("line ")]
    assert [int(words[1]) for words in shown] == list(range(60)), "a line is missing or doubled"
    assert door.cuts == 3
    (run,) = json.loads(program.run("runs", "--json").stdout)
    door.cut_after(12_000_000)
    program.run("download", run["id"], "--to", tmp_path / "got")
    assert (tmp_path / "got" / "outputs" / "größe.txt").read_text() == "grüße"
    assert (tmp_path / "got" / "outputs" / "big.bin").read_bytes() == bytes(range(256)) * 80_000
    assert door.cuts == 4
    (loss,) = json.loads(program.run("metrics", run["id"], "--json").stdout)
    assert loss["count"] == 60
    assert "loss" in program.run("metrics", run["id"], "--plot").stdout
    assert len(program.run("metrics", run["id"], "--csv").stdout.splitlines()) == 61
    last = program.run("logs", run["id"], "--rank", "0", "--tail", "1").stdout
    assert last == "line 59 red\n"
    program.run(
        "models", "register", "m", "--run", run["id"], "--path", "outputs", "--framework", "custom"
    )
    assert "1" in program.run("models", "list", "m").stdout


def test_a_run_that_fails_says_why(program: Program) -> None:
    done = program.run("submit", "--entry-script", "fail.py", code=1)
    assert "before\n" in done.stdout
    assert "exit code 7" in done.stderr
    (run,) = json.loads(program.run("runs", "--status", "Failed", "--json").stdout)
    assert "exit code 7" in program.run("why", run["id"]).stdout
    program.run("run", "delete", run["id"], "--yes")
