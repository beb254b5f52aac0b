"""Ends that are not the script's own: stop, maximum duration, fencing, death of the runner."""

import os
import signal
import sys
import time

import pytest

from tests.runner.conftest import Bench
from tests.runner.node_api import DEADLINE_SECONDS, Refusal
from workers.runner.node import SIGNALLED_DELIVER_SECONDS

TRAPS_AND_SAVES = (
    "import pathlib, signal, sys, time\n"
    "def save(*_):\n"
    "    pathlib.Path('outputs/checkpoint').write_text('saved')\n"
    "    print('saved', flush=True)\n"
    "    sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, save)\n"
    "print('training', flush=True)\n"
    "time.sleep(600)\n"
)
IGNORES = (
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('training', flush=True)\n"
    "time.sleep(600)\n"
)
# A child in a session of its own whose name of the node is gone from nothing but its group, and
# one that ignores everything.
BREEDS = (
    "import subprocess, sys, time\n"
    "sleeper = 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)'\n"
    "subprocess.Popen([sys.executable, '-c', sleeper], start_new_session=True)\n"
    "subprocess.Popen([sys.executable, '-c', sleeper])\n"
    "subprocess.Popen([sys.executable, '-c', sleeper], env={})\n"
    "print('training', flush=True)\n"
)


def start_and_await_training(bench: Bench) -> None:
    bench.start()
    bench.api.wait_for(lambda: "training" in bench.api.text())


def test_stop_lets_a_script_save_and_collects_that_as_partial(bench: Bench) -> None:
    bench.script(TRAPS_AND_SAVES)
    start_and_await_training(bench)
    bench.api.command = "stop"

    assert bench.wait() == 0

    assert bench.exited()["reason"] == "stopped"
    assert bench.exited()["exit_code"] == 0
    assert bench.api.output("outputs/checkpoint") == b"saved"
    assert bench.api.outputs is not None
    assert bench.api.outputs["partial"] is True
    assert bench.api.text() == "training\nsaved\n"


@pytest.mark.fault(39)
def test_a_script_that_ignores_the_stop_is_killed_after_the_grace(bench: Bench) -> None:
    bench.script(IGNORES)
    start_and_await_training(bench)
    began = time.monotonic()
    bench.api.command = "stop"

    assert bench.wait() == 0

    assert time.monotonic() - began >= 1
    exited = bench.exited()
    assert (exited["signal"], exited["reason"]) == (signal.SIGKILL, "stopped")
    assert exited["last_lines"] == ["training"]


def test_stop_ends_grandchildren_also_in_sessions_of_their_own(bench: Bench) -> None:
    bench.script(BREEDS + "time.sleep(600)\n")
    start_and_await_training(bench)
    assert len(bench.leftovers()) >= 4
    bench.api.command = "stop"

    assert bench.wait() == 0

    assert bench.leftovers() == []


def test_what_a_script_leaves_running_ends_with_it(bench: Bench) -> None:
    bench.api.order["grace_seconds"] = 0.3
    bench.script(BREEDS)

    assert bench.run() == 0

    assert bench.exited()["exit_code"] == 0
    assert bench.leftovers() == []
    assert bench.api.outputs is not None
    assert bench.api.outputs["partial"] is False


def test_sigterm_to_the_runner_is_a_stop(bench: Bench) -> None:
    bench.script(TRAPS_AND_SAVES)
    start_and_await_training(bench)
    assert bench.runner is not None
    bench.runner.terminate()

    assert bench.wait() == 0

    assert bench.exited()["reason"] == "stopped"
    assert bench.api.output("outputs/checkpoint") == b"saved"


def test_a_second_signal_does_not_hurry_a_delivery(bench: Bench) -> None:
    bench.script(TRAPS_AND_SAVES)
    start_and_await_training(bench)
    signalled_at: list[float] = []

    def hold_up(method: str, path: str) -> Refusal | None:
        has_waited = signalled_at and (
            time.monotonic() > signalled_at[0] + 1.2 * SIGNALLED_DELIVER_SECONDS
        )
        return Refusal(503, "later") if path.endswith("/outputs") and not has_waited else None

    bench.api.refuse = hold_up
    assert bench.runner is not None
    bench.runner.terminate()
    bench.exited()
    bench.runner.terminate()
    signalled_at.append(time.monotonic())

    assert bench.wait() == 0
    assert bench.api.output("outputs/checkpoint") == b"saved"


def test_the_maximum_duration_is_kept(bench: Bench) -> None:
    bench.api.order["max_duration_seconds"] = 4
    bench.script(TRAPS_AND_SAVES)

    assert bench.run() == 0

    assert bench.exited()["reason"] == "max_duration"
    assert 4 <= bench.exited()["ended_at"] - bench.exited()["started_at"] < 60
    assert bench.api.output("outputs/checkpoint") == b"saved"


def test_the_maximum_duration_is_kept_while_the_api_is_away(bench: Bench) -> None:
    bench.api.order["max_duration_seconds"] = 4
    bench.script(TRAPS_AND_SAVES)
    start_and_await_training(bench)
    bench.api.is_away = True
    ends_at = time.monotonic() + DEADLINE_SECONDS
    while not (bench.work / "outputs" / "checkpoint").exists():
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    bench.api.is_away = False

    assert bench.wait() == 0
    assert bench.exited()["reason"] == "max_duration"


def test_a_stop_before_the_start_starts_nothing(bench: Bench) -> None:
    bench.api.start_at_ready = False
    bench.script("print('never')")
    bench.start()
    bench.api.wait_for(lambda: "ready" in bench.api.phases)
    bench.api.command = "stop"

    assert bench.wait() == 0

    assert bench.api.event("exited") == {"event": "exited", "processes": [], "reason": "stopped"}
    assert bench.api.text() == ""


def test_sigterm_ends_a_runner_that_never_reached_the_api(bench: Bench) -> None:
    bench.api.is_away = True
    runner = bench.start()
    bench.api.wait_for(lambda: bench.api.requests >= 2)
    runner.terminate()

    assert bench.wait() == 6


@pytest.mark.fault(41)
def test_a_disowned_runner_kills_everything_and_ends(bench: Bench) -> None:
    bench.script(BREEDS + "time.sleep(600)\n")
    start_and_await_training(bench)
    bench.api.is_gone = True

    assert bench.wait() == 3

    assert bench.leftovers() == []
    assert bench.api.outputs is None


def test_a_token_that_is_no_longer_taken_is_like_being_disowned(bench: Bench) -> None:
    bench.script(IGNORES)
    start_and_await_training(bench)
    bench.api.token = "another"

    assert bench.wait() == 3
    assert bench.leftovers() == []


def test_a_new_token_in_the_file_is_taken_up(bench: Bench) -> None:
    bench.script("import pathlib, time\nprint('training', flush=True)\n"
                 "while not pathlib.Path('go').exists(): time.sleep(0.01)\n")  # fmt: skip
    start_and_await_training(bench)
    (bench.node_dir / "token").write_text("renewed")
    bench.api.token = "renewed"
    (bench.work / "go").touch()

    assert bench.wait() == 0


def test_the_script_dies_with_its_runner(bench: Bench) -> None:
    bench.script(IGNORES)
    start_and_await_training(bench)
    assert bench.runner is not None
    os.kill(bench.runner.pid, signal.SIGKILL)
    bench.wait()

    bench.wait_for_no_leftovers()


def test_the_lock_is_not_inherited_by_the_script(bench: Bench) -> None:
    bench.process(
        sys.executable,
        "-c",
        "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:4])",
    )

    assert bench.run() == 0

    assert bench.api.text() == "[0, 1, 2, 3]\n"  # 3 is the listing itself
