"""How a process ended is what the kernel says, not what the runner has noticed so far."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import REPOSITORY

# The thread that waits for the process comes to its turn only after the runner has acted.
PROGRAM = """
import json, os, subprocess, sys, threading
from workers.runner.control import Control
from workers.runner.processes import NodeProcess

class Lines:
    name, grown_at, data = "log", 0.0, b""
    def append(self, data):
        self.data += data
    def last_lines(self):
        return self.data.decode().splitlines()

has_acted = threading.Event()
wait = subprocess.Popen.wait

def late_wait(popen):
    has_acted.wait()
    return wait(popen)

subprocess.Popen.wait = late_wait
control = Control()
argv = [sys.executable, "-c", sys.argv[1]]
process = NodeProcess(argv=argv, stream=Lines(), control=control)
process.start(environment={}, cwd="/")
os.waitid(os.P_PID, process.session, os.WEXITED | os.WNOWAIT)
getattr(process, sys.argv[2])()
has_acted.set()
assert control.inbox.get() == "exited"
process.finish_reading()
print(json.dumps(process.report()))
"""
FAILS = "print('no such layer', flush=True); raise SystemExit(3)"
IS_KILLED = "import os; os.kill(os.getpid(), 9)"


def report(script: str, act: str) -> dict[str, Any]:
    """What is reported of a process on which the runner acts when it has just ended."""
    argv = [sys.executable, "-c", PROGRAM, script, act]
    ended = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize("act", ["terminate", "kill"])
def test_a_process_that_failed_just_before_it_was_to_end_was_not_stopped(act: str) -> None:
    found = report(FAILS, act)

    assert (found["exit_code"], found["stopped"]) == (3, False)
    assert found["last_lines"] == ["no such layer"]


@pytest.mark.parametrize("act", ["terminate", "kill"])
def test_a_process_that_was_killed_just_before_it_was_to_end_says_so(act: str) -> None:
    found = report(IS_KILLED, act)

    assert (found["signal"], found["stopped"]) == (9, False)
    (hint,) = found["last_lines"]
    assert "memory" in hint
