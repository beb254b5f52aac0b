"""Heartbeats say for how long nothing has been heard of the scripts."""

import pytest

from tests.runner.conftest import Bench
from tests.runner.node_api import Refusal


def last_quiet(bench: Bench) -> dict:
    told = [beat["quiet"] for beat in bench.api.beats if beat.get("quiet")]
    return told[-1] if told else {"processes": [], "node": 0.0}


def silent_seconds(bench: Bench) -> float:
    """Of the second process; a beat that came before its start tells nothing of it."""
    told = last_quiet(bench)["processes"]
    return (told[1] if len(told) == 2 else None) or 0.0


def test_a_process_that_prints_nothing_is_told_apart_from_one_that_does(bench: Bench) -> None:
    bench.script("import time\nwhile True: print('tick', flush=True); time.sleep(0.02)")
    bench.script("import time; time.sleep(600)")
    bench.start()
    bench.api.wait_for(lambda: silent_seconds(bench) > 1)

    speaking, silent = last_quiet(bench)["processes"]

    assert speaking < silent
    assert last_quiet(bench)["node"] < silent
    bench.api.command = "stop"
    assert bench.wait() == 0


@pytest.mark.parametrize(
    "line",
    [
        "open('logs/own.txt', 'a').write('x\\n')",
        "open(os.environ['TRAINWRIGHT_RECORDS'], 'a').write('{\"kind\": \"tag\"}\\n')",
    ],
)
def test_a_metric_or_a_log_file_is_heard_but_is_nobodys_print(bench: Bench, line: str) -> None:
    bench.script(f"import os, time\nwhile True: {line}; time.sleep(0.02)")
    bench.start()
    bench.api.wait_for(lambda: min(last_quiet(bench)["processes"], default=0) > 1)

    assert last_quiet(bench)["node"] < 1

    bench.api.command = "stop"
    assert bench.wait() == 0


def test_whose_log_is_not_taken_is_heard_all_the_same(bench: Bench) -> None:
    bench.api.refuse = lambda _, path: Refusal(422, "no") if path.endswith("/logs") else None
    bench.script("import time\nwhile True: print('tick', flush=True); time.sleep(0.02)")
    bench.start()
    bench.api.wait_for(lambda: bench.api.log_times)
    beats = len(bench.api.beats)
    bench.api.wait_for(lambda: len(bench.api.beats) > beats + 30)

    assert last_quiet(bench)["node"] < 2

    bench.api.command = "stop"
    assert bench.wait() == 0


def test_those_who_are_stopped_learn_why(bench: Bench) -> None:
    bench.script("print('training', flush=True); import time; time.sleep(600)")
    bench.start()
    bench.api.wait_for(lambda: "training" in bench.api.text())
    bench.api.answer_more = {"reason": "peer_failed", "because": "rank 1 exited with code 7"}
    bench.api.command = "stop"

    assert bench.wait() == 0

    assert bench.exited()["reason"] == "peer_failed"
    notes = bench.api.text("system_logs/runner.txt")
    assert notes.endswith("the processes were stopped: rank 1 exited with code 7\n")
