"""A run from order to finished, when nothing goes wrong."""

import hashlib
import json
import os
import sys
import time

import pytest

from tests.runner.conftest import Bench


def test_everything_arrives_and_the_end_is_sealed(bench: Bench) -> None:
    bench.source("lib/helper.py", "GREETING = 'hello'\n")
    bench.source("tool.sh", "#!/bin/sh\necho tool\n", executable=True)
    bench.script(
        "import os, subprocess, sys\n"
        "from lib.helper import GREETING\n"
        "print(GREETING, *sys.argv[1:])\n"
        "print('to stderr', file=sys.stderr)\n"
        "subprocess.run(['./tool.sh'], check=True)\n"
        "open('outputs/model.txt', 'w').write('weights')\n"
        "open('logs/training.log', 'w').write('epoch 1')\n",
        "--batch-size",
        "50",
    )

    assert bench.run() == 0

    api = bench.api
    assert api.text() == "hello --batch-size 50\nto stderr\ntool\n"
    assert api.text("logs/training.log") == "epoch 1"
    assert api.output("outputs/model.txt") == b"weights"
    assert api.outputs is not None
    assert api.outputs["partial"] is False
    names = [event["event"] for event in api.events]
    assert names == ["ready", "started", "exited", "finished"]
    exited = bench.exited()
    assert (exited["exit_code"], exited["signal"], exited["reason"]) == (0, None, None)
    assert exited["ended_at"] >= exited["started_at"] > time.time() - 60
    assert exited["last_lines"] == ["hello --batch-size 50", "to stderr", "tool"]
    assert api.event("finished")["streams"] == {
        name: {
            "length_bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for name, data in api.streams.items()
    }


def test_environment_is_merged_and_the_runners_own_does_not_leak(bench: Bench) -> None:
    bench.api.order["environment"] = {"SHARED": "order", "AZUREML_RUN_ID": "run_1", "ONE": "1"}
    bench.api.order["path_prepend"] = ["/venv/bin"]
    bench.api.order["standin"] = True
    bench.script(
        "import json, os; print(json.dumps(dict(os.environ)))",
        environment={"SHARED": "process", "TF_CONFIG": "{}"},
    )

    assert bench.run() == 0

    seen = json.loads(bench.api.text())
    assert seen["SHARED"] == "process"
    assert (seen["ONE"], seen["AZUREML_RUN_ID"], seen["TF_CONFIG"]) == ("1", "run_1", "{}")
    assert seen["TRAINWRIGHT_NODE"] == bench.name
    assert seen["PATH"].split(os.pathsep)[0] == "/venv/bin"
    assert seen["PYTHONPATH"].endswith("/standin")
    assert "TRAINWRIGHT_ENDPOINT" not in seen


def test_two_processes_have_streams_of_their_own(bench: Bench) -> None:
    bench.script("print('rank 0')")
    bench.script("print('rank 1')")

    assert bench.run() == 0

    assert bench.api.text() == "rank 0\n"
    assert bench.api.text("user_logs/std_log_1.txt") == "rank 1\n"


def test_the_others_are_stopped_when_one_process_fails(bench: Bench) -> None:
    bench.script("import time; time.sleep(60)")
    bench.script("raise SystemExit(7)")

    assert bench.run() == 0

    first, second = bench.api.event("exited")["processes"]
    assert (first["exit_code"], first["signal"]) == (None, 15)
    assert second["exit_code"] == 7
    assert second["ended_at"] <= first["ended_at"]


def test_waits_for_the_word_to_start(bench: Bench) -> None:
    bench.api.start_at_ready = False
    bench.script("print('began')")
    bench.start()
    bench.api.wait_for(lambda: bench.api.phases.count("ready") >= 3)
    assert bench.api.text() == ""

    bench.api.command = "start"

    assert bench.wait() == 0
    assert bench.api.text() == "began\n"


def test_phases_are_told(bench: Bench) -> None:
    bench.script("import time; time.sleep(0.5)")
    assert bench.run() == 0
    assert "running" in bench.api.phases


@pytest.mark.parametrize(
    ("text", "exit_code", "signal"),
    [
        ("raise SystemExit(3)", 3, None),
        ("1 / 0", 1, None),
        ("import os; os.kill(os.getpid(), 11)", None, 11),
        ("import os; os.abort()", None, 6),
    ],
)
def test_exit_code_or_signal_is_told(
    bench: Bench, text: str, exit_code: int | None, signal: int | None
) -> None:
    bench.script(text)

    assert bench.run() == 0

    assert (bench.exited()["exit_code"], bench.exited()["signal"]) == (exit_code, signal)
    assert bench.api.outputs is not None
    assert bench.api.outputs["partial"] is True


def test_an_unexplained_sigkill_is_hinted_at(bench: Bench) -> None:
    bench.script("import os; print('big', flush=True); os.kill(os.getpid(), 9)")

    assert bench.run() == 0

    assert bench.exited()["signal"] == 9
    assert bench.exited()["last_lines"][0] == "big"
    assert "memory" in bench.exited()["last_lines"][-1]


def test_a_program_that_is_not_there_ends_with_127_and_says_so(bench: Bench) -> None:
    bench.process("no-such-program")

    assert bench.run() == 0

    assert bench.exited()["exit_code"] == 127
    assert "no-such-program" in bench.exited()["last_lines"][0]
    assert "no-such-program" in bench.api.text()


def test_many_source_files_come_over_several_connections(bench: Bench) -> None:
    for index in range(200):
        bench.source(f"pkg/part{index % 7}/file{index}.txt", f"content {index}")
    bench.script(
        "import glob; print(sum(int(open(p).read().split()[1])"
        " for p in glob.glob('pkg/**/*.txt', recursive=True)))"
    )

    assert bench.run() == 0

    assert bench.api.text() == f"{sum(range(200))}\n"


def test_the_first_line_waits_for_no_heartbeat(bench: Bench) -> None:
    bench.api.order["heartbeat_seconds"] = 600
    bench.script("print('first')")
    bench.start()

    bench.api.wait_for(lambda: bench.api.log_posts)

    assert bench.wait() == 0


def test_a_second_runner_in_a_used_folder_does_not_start_the_script_again(bench: Bench) -> None:
    bench.script("print('once')")
    assert bench.run() == 0

    assert bench.run() == 5

    assert bench.api.text() == "once\n"
    assert bench.api.event("failed")["code"] == "runner_died"


def test_the_runner_needs_nothing_but_its_folder(bench: Bench) -> None:
    bench.process(sys.executable, "-c", "print('bare')")
    assert bench.run() == 0
    assert bench.api.text() == "bare\n"
