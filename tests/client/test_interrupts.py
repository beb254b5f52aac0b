"""Ctrl-C, at each phase of a submission."""

import os
from pathlib import Path

import pytest

from tests.client.door import Door
from tests.client.program import Program
from trainwright.connection import Connection

CTRL_C = "\x03"


@pytest.fixture
def job(program: Program, connection: Connection, tmp_path: Path) -> Path:
    """Return a folder with a script, and a cluster to run it on."""
    connection.put(connection.path("clusters", "cpu"), {"vm_size": "small"})
    folder = tmp_path / "folder" / "job"
    folder.mkdir()
    (folder / "train.py").write_text(f"print({str(tmp_path)!r})\n")
    return folder


def test_ctrl_c_asks_before_it_cancels(program: Program, connection: Connection, job: Path) -> None:
    with program.terminal("submit", job, "--entry-script", "train.py") as terminal:
        terminal.await_text("Submitted as ")
        terminal.await_text("Starting")
        terminal.type(CTRL_C)
        terminal.await_text("Interrupted")
        terminal.type("\n")
        terminal.await_text("Following it again")
        terminal.type(CTRL_C)
        terminal.await_text("Interrupted")
        terminal.type("c\n")
        terminal.await_text("is asked for")
        terminal.await_text("CancelRequested")
        terminal.type(CTRL_C)
        terminal.await_text("Interrupted")
        terminal.type("d\n")
        assert terminal.await_end() == 0, terminal.shown

    (run,) = connection.pages(connection.path("runs"))
    assert run["status"] == "CancelRequested"


def test_a_second_ctrl_c_leaves_at_once_and_the_run_goes_on(
    program: Program, connection: Connection, job: Path
) -> None:
    with program.terminal("submit", job, "--entry-script", "train.py") as terminal:
        terminal.await_text("Starting")
        terminal.type(CTRL_C)
        terminal.await_text("Interrupted")
        terminal.type(CTRL_C)
        terminal.await_text("goes on")
        assert terminal.await_end() == 130

    (run,) = connection.pages(connection.path("runs"))
    assert run["status"] == "Starting"


def test_ctrl_c_while_bytes_are_sent_makes_no_run_and_keeps_what_was_sent(
    program: Program, connection: Connection, job: Path, door: Door
) -> None:
    (job / "big.bin").write_bytes(os.urandom(20_000_000))
    door.shut_after(12_000_000)
    with program.terminal("submit", job, "--entry-script", "train.py") as terminal:
        terminal.await_text("trying again")
        terminal.type(CTRL_C)
        assert terminal.await_end(seconds=60) == 130, terminal.shown
    door.reopen()
    assert list(connection.pages(connection.path("runs"))) == []

    before = door.passed
    program.run("submit", job, "--entry-script", "train.py", "--detach")

    assert door.passed - before < 16_000_000, "it began anew"
    assert len(list(connection.pages(connection.path("runs")))) == 1
