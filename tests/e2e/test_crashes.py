"""``kill -9`` of every part in the middle of a run: it completes, nothing twice, nothing lost."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e import scripts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

submit = partial(scripts.submit, workspace="crash")
run_of = partial(scripts.run_of, workspace="crash")
await_status = partial(scripts.await_status, workspace="crash")
cancel_all = partial(scripts.cancel_all, workspace="crash")

LINES = 40
COUNTING = f"""
import pathlib, sys, time
for number in range({LINES}):
    while number == {LINES // 2} and not pathlib.Path(sys.argv[1]).exists():
        time.sleep(0.05)
    print("line", number, flush=True)
    time.sleep(0.1)
open("outputs/done.txt", "w").write("done")
"""
UPLOADING = """
import io, pathlib, time, uuid
from azureml.core import Run
run = Run.get_context()
weights = str(uuid.uuid4())
run.upload_file("outputs/weights.txt", io.StringIO(weights))
run.add_properties({"weights": weights})
pathlib.Path("outputs/weights.txt").write_text(weights)
print(weights, flush=True)
if "-a1-" in str(pathlib.Path.cwd()):  # the first attempt does not end by itself
    time.sleep(600)
"""
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("outputs/part.txt", "w").write("part")
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def talk(stack: Stack) -> Iterator[Talk]:
    # The test before may have failed while it was down.
    if not stack.family():
        stack.start()
    talk = Talk(stack.address, stack.token, is_silent=True)
    # Parts that the test before has killed may be coming back.
    scripts.await_true(lambda: talk.client.get("/readyz").is_success)
    talk.ask("PUT", "/v1/workspaces/crash", expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 2}
    talk.ask("PUT", "/v1/workspaces/crash/clusters/cpu", body=body, expect=(200, 201))
    yield talk
    cancel_all(talk)
    talk.close()


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """A file without which the script that counts stays in the middle of its lines."""
    return tmp_path / "go"


def log_of(talk: Talk, run_id: str) -> bytes:
    path = f"/v1/workspaces/crash/runs/{run_id}/logs?stream=user_logs/std_log.txt"
    return talk.client.get(path, headers=talk.authorization()).content


def processes(stack: Stack, word: str) -> list[psutil.Process]:
    """Processes of this stack whose command line holds a word."""
    family = {process.pid for process in stack.family()}
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            folder = process.environ().get("TRAINWRIGHT_DATA_DIR", "")
            is_ours = folder == str(stack.data_dir) or str(stack.data_dir) in process.cwd()
            is_ours = is_ours or process.pid in family
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if is_ours and any(word in item for item in words):
            found.append(process)
    return found


def kill(stack: Stack, word: str) -> None:
    found = processes(stack, word)
    assert found, f"no process with {word!r}"
    # The oldest first: what it had started may end by itself.
    for process in sorted(found, key=lambda each: each.create_time()):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def assert_whole(talk: Talk, run_id: str) -> None:
    """Completed once, with all lines once, readable outputs, gapless events, no leftover."""
    run = await_status(talk, run_id, "Completed")
    assert run["error"] is None
    log = log_of(talk, run_id)
    assert log.decode().splitlines() == [f"line {n}" for n in range(LINES)]
    streams = talk.get(f"/v1/workspaces/crash/runs/{run_id}/logs/streams")["items"]
    sealed = next(
        s
        for s in streams
        if s["name"] == "user_logs/std_log.txt" and s["attempt"] == run["attempt"]
    )
    assert sealed["sha256"] == hashlib.sha256(log).hexdigest()
    done = talk.client.get(
        f"/v1/workspaces/crash/runs/{run_id}/files/outputs/done.txt", headers=talk.authorization()
    )
    assert done.text == "done"
    events = talk.get(f"/v1/workspaces/crash/runs/{run_id}/events")["items"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


@pytest.mark.parametrize("part", ["app.cli api", "celery", "postgres", "valkey"])
@pytest.mark.fault(15, 24)
def test_a_killed_part_of_the_control_plane_loses_nothing(
    stack: Stack, talk: Talk, go: Path, part: str
) -> None:
    run_id = submit(talk, COUNTING, arguments=[str(go)])
    await_status(talk, run_id, "Running")
    if part == "app.cli api":
        pids = [p for p in processes(stack, "app.cli") if "api" in p.cmdline()]
        assert pids
        for process in pids:
            process.kill()
    else:
        kill(stack, part)
    go.touch()
    assert_whole(talk, run_id)
    assert run_of(talk, run_id)["attempt"] == 1


def test_a_killed_runner_means_a_new_attempt(stack: Stack, talk: Talk, go: Path) -> None:
    run_id = submit(talk, COUNTING, arguments=[str(go)])
    await_status(talk, run_id, "Running")
    kill(stack, "runner/main.py")
    go.touch()
    assert_whole(talk, run_id)
    run = run_of(talk, run_id)
    assert run["attempt"] == 2
    attempts = talk.get(f"/v1/workspaces/crash/runs/{run_id}/attempts")["items"]
    assert [item["outcome"] for item in attempts] == ["Lost", "Completed"]
    assert not processes(stack, "script.py"), "the first attempt's script lives on"


def test_a_new_attempt_may_record_what_the_lost_one_had_recorded(stack: Stack, talk: Talk) -> None:
    run_id = submit(talk, UPLOADING, properties={"mine": "1"})
    await_status(talk, run_id, "Running")
    files = f"/v1/workspaces/crash/runs/{run_id}/files"

    def text_of(path: str) -> str:
        deadline = time.monotonic() + 90
        while True:
            answer = talk.client.get(f"{files}/{path}", headers=talk.authorization())
            if answer.status_code == 200:
                return answer.text
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.05)

    first = text_of("outputs/weights.txt")
    scripts.await_true(
        lambda: run_of(talk, run_id)["properties"] == {"mine": "1", "weights": first}
    )
    kill(stack, "runner/main.py")
    run = await_status(talk, run_id, "Completed")
    assert run["attempt"] == 2
    second = text_of("outputs/weights.txt")
    assert second == log_of(talk, run_id).decode().strip() != first
    assert text_of("attempts/1/outputs/weights.txt") == first
    assert run["properties"] == {"mine": "1", "weights": second}


def test_a_runner_that_dies_every_time_fails_the_run(stack: Stack, talk: Talk, go: Path) -> None:
    run_id = submit(talk, COUNTING, arguments=[str(go)], max_attempts=1)
    await_status(talk, run_id, "Running")
    kill(stack, "runner/main.py")
    run = await_status(talk, run_id, "Failed")
    assert run["error"]["code"] == "node_lost"


@pytest.mark.fault(16)
def test_training_goes_on_while_the_whole_control_plane_is_down(
    stack: Stack, talk: Talk, go: Path
) -> None:
    run_id = submit(talk, COUNTING, arguments=[str(go)])
    await_status(talk, run_id, "Running")
    stack.crash()
    go.touch()
    stack.start()
    assert_whole(talk, run_id)
    assert run_of(talk, run_id)["attempt"] == 1


@pytest.mark.fault(24, 26, 27)
def test_progress_without_the_broker(stack: Stack, talk: Talk, go: Path) -> None:
    go.touch()
    brokers = processes(stack, "valkey")
    for broker in brokers:
        broker.suspend()
    try:
        run_id = submit(talk, COUNTING, arguments=[str(go)])
        assert_whole(talk, run_id)
    finally:
        for broker in brokers:
            broker.resume()


@pytest.mark.fault(39, 40)
def test_cancel_kills_what_ignores_it_and_keeps_partial_outputs(stack: Stack, talk: Talk) -> None:
    run_id = submit(talk, STUBBORN)
    deadline = time.monotonic() + 90
    while b"started" not in log_of(talk, run_id):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for _ in range(2):
        path = f"/v1/workspaces/crash/runs/{run_id}/cancel"
        assert talk.ask("POST", path, expect=(202,)).json()["status"] == "CancelRequested"
    run = await_status(talk, run_id, "Canceled")
    assert run["outputs_partial"] is True
    part = talk.client.get(
        f"/v1/workspaces/crash/runs/{run_id}/files/outputs/part.txt", headers=talk.authorization()
    )
    assert part.text == "part"
    assert not processes(stack, "script.py")
    assert not processes(stack, "time.sleep(600)")


def test_too_long_is_stopped_and_says_why(stack: Stack, talk: Talk) -> None:
    script = "import time\ntime.sleep(600)\n"
    run_id = submit(talk, script, max_run_duration_seconds=1)
    run = await_status(talk, run_id, "Canceled")
    assert run["error"]["code"] == "max_run_duration_exceeded"


def test_the_exit_code_decides(stack: Stack, talk: Talk) -> None:
    script = "import sys\nprint('about to fail')\nopen('outputs/x', 'w').write('x')\nsys.exit(3)\n"
    run_id = submit(talk, script)
    run = await_status(talk, run_id, "Failed")
    assert (run["error"]["code"], run["error"]["exit_code"]) == ("process_failed", 3)
    assert run["error"]["last_lines"] == ["about to fail"]
    assert run["outputs_partial"] is True


def test_nothing_is_left_of_the_runs(stack: Stack, talk: Talk) -> None:
    deadline = time.monotonic() + 90
    nodes = stack.data_dir / "nodes"
    while list(nodes.iterdir()):
        assert time.monotonic() < deadline, list(nodes.iterdir())
        time.sleep(0.1)
    assert not processes(stack, "runner/main.py")
    cluster = talk.get("/v1/workspaces/crash/clusters/cpu")
    assert cluster["node_state_counts"]["running"] == 0
