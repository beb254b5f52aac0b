"""Runs that hang, through a whole stack: told by heartbeats, or by silence where that was asked."""

import os
import re
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e.test_gangs import (
    MEETING,
    WORKSPACE,
    await_end,
    await_that,
    cancel_all,
    kept_by,
    node_processes,
    submit,
    text,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

RANK_1_HANGS = """
import os, pathlib, sys, time
from azureml.core import Run
run = Run.get_context()
begun = pathlib.Path(sys.argv[1])
while os.environ["RANK"] == "0" and not begun.exists():
    time.sleep(0.05)
for step in range(8):
    print("step", step, flush=True)
    run.log("step", step)
    if os.environ["RANK"] == "1":
        begun.touch()
        break
    time.sleep(0.4)
time.sleep(600)
"""
FAILS_ONCE = """
import os, pathlib, sys, time
saved = pathlib.Path("checkpoints/step.txt")
if saved.exists():
    print("went on from", saved.read_text(), flush=True)
else:
    saved.parent.mkdir()
    saved.write_text("41")
    while not pathlib.Path("../may-fail").exists():
        time.sleep(0.1)
    sys.exit(9)
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {
        "TRAINWRIGHT_HEARTBEAT_SECONDS": "0.3",
        "TRAINWRIGHT_HEARTBEAT_TIMEOUT_SECONDS": "6",
        "TRAINWRIGHT_LOST_AFTER_SECONDS": "20",
    }
    stack = Stack(tmp_path_factory.mktemp("hangs").resolve() / "data", settings=settings)
    stack.start()
    yield stack
    assert stack.stop() == [], "the stack left processes behind"


@pytest.fixture
def talk(stack: Stack) -> Iterator[Talk]:
    talk = Talk(stack.address, stack.token, is_silent=True)
    talk.ask("PUT", WORKSPACE, expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 2}
    talk.ask("PUT", f"{WORKSPACE}/clusters/cpu", body=body, expect=(200, 201))
    yield talk
    cancel_all(talk)
    talk.close()


@pytest.mark.fault(33, 41)
def test_a_node_that_sends_no_heartbeat_is_given_up_though_it_lives(
    stack: Stack, talk: Talk
) -> None:
    run_id = submit(talk, MEETING, node_count=2)
    await_that(
        lambda: "at work" in text(talk, run_id, "logs?stream=user_logs/std_log_worker_1.txt")
    )
    os.kill(node_processes(stack, "runner/main.py", f"{run_id}-a1-n1")[0].pid, signal.SIGSTOP)

    run = await_end(talk, run_id)

    assert (run["status"], run["attempt"]) == ("Completed", 2), run
    lost, done = talk.get(f"{WORKSPACE}/runs/{run_id}/attempts")["items"]
    assert (lost["outcome"], lost["error"]["code"]) == ("Lost", "node_lost")
    assert lost["error"]["node"] == "node 1"
    assert "no heartbeat for 20 s" in lost["error"]["message"]
    assert done["outcome"] == "Completed"
    events = talk.get(f"{WORKSPACE}/runs/{run_id}/events")["items"]
    # All nodes of a machine that was slow for a moment may be silent for as long.
    late = re.compile(r"no heartbeat for 6 s from (node 0, )?node 1")
    assert any(late.search(event["reason"]) for event in events)
    assert not node_processes(stack, "script.py")


@pytest.mark.fault(33)
def test_a_run_in_which_nobody_says_anything_is_ended_and_says_who(
    stack: Stack, talk: Talk, tmp_path: Path
) -> None:
    run_id = submit(
        talk,
        RANK_1_HANGS,
        arguments=[str(tmp_path / "begun")],
        node_count=2,
        distribution={"type": "pytorch"},
        silence_timeout_seconds=12,
    )

    run = await_end(talk, run_id)

    error = run["error"]
    assert (run["status"], run["attempt"], error["code"]) == ("Failed", 1, "silent")
    assert (error["rank"], error["role"], error["node"]) == (1, "process", "node 1")
    first, second = error["silent"]
    assert (first["rank"], second["rank"]) == (1, 0)
    between = datetime.fromisoformat(second["since"]) - datetime.fromisoformat(first["since"])
    assert 2 < between.total_seconds() < 30
    told = text(talk, run_id, "logs?stream=nodes/1/system_logs/runner.txt")
    assert "Nothing was printed or logged for 12 s" in told
    assert not node_processes(stack, "script.py")


def test_a_failing_script_is_started_again_where_that_was_asked(stack: Stack, talk: Talk) -> None:
    run_id = submit(talk, FAILS_ONCE, retry_on=["process_failed"])
    await_that(lambda: kept_by(talk, run_id))
    (stack.data_dir / "nodes" / f"tw-{run_id}-a1-n0" / "may-fail").touch()

    run = await_end(talk, run_id)

    assert (run["status"], run["attempt"], run["error"]) == ("Completed", 2, None)
    failed, done = talk.get(f"{WORKSPACE}/runs/{run_id}/attempts")["items"]
    assert (failed["outcome"], failed["error"]["exit_code"]) == ("Failed", 9)
    assert done["outcome"] == "Completed"
    said = text(talk, run_id, "logs?stream=user_logs/std_log.txt")
    assert said == "went on from 41\n"


def test_a_script_that_always_fails_ends_the_run_with_its_last_attempt(talk: Talk) -> None:
    run_id = submit(
        talk, "raise SystemExit(4)", retry_on=["process_failed", "silent"], max_attempts=2
    )

    run = await_end(talk, run_id)

    assert (run["status"], run["attempt"]) == ("Failed", 2)
    assert (run["error"]["code"], run["error"]["exit_code"]) == ("process_failed", 4)
