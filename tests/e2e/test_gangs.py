"""Runs on several nodes, through a whole stack: roles, the barrier, the first failure, loss."""

import io
import json
import os
import signal
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psutil
import pytest

from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e import scripts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
WORKSPACE = "/v1/workspaces/gangs"

cancel_all = partial(scripts.cancel_all, workspace="gangs")

ROLES = """
import json, os, socket, time
config = json.loads(os.environ["TF_CONFIG"])
task, cluster = config["task"], config["cluster"]
host, port = cluster[task["type"]][task["index"]].split(":")
open(f"outputs/{task['type']}-{task['index']}.json", "w").write(os.environ["TF_CONFIG"])
open("outputs/same.txt", "w").write(f"{task['type']} {task['index']}")
open("logs/own.txt", "w").write(f"{task['type']} {task['index']}")
with socket.create_server(("", int(port))) as server:  # all addresses, as TensorFlow does
    print("listening", flush=True)
    while task["type"] == "ps":
        server.accept()[0].close()  # never ends by itself
    for place in cluster["ps"]:
        for _ in range(200):
            try:
                socket.create_connection((place.split(":")[0], int(place.split(":")[1]))).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        else:
            raise SystemExit("no parameter server")
"""
ONE_FAILS = """
import os, sys, time
if os.environ["RANK"] == "1":
    print("about to fail", flush=True)
    sys.exit(7)
time.sleep(600)
"""
MEETING = """
import os, time
open("outputs/node.txt", "w").write(os.environ["AZ_BATCHAI_TASK_INDEX"])
print("at work", os.environ["AZ_BATCH_HOST_LIST"], flush=True)
if "-a1-" in os.getcwd():  # the first attempt does not end by itself
    time.sleep(600)
"""
RESUMING = """
import os, pathlib, time
step = pathlib.Path("checkpoints/step.txt")
if step.exists():
    print("went on from", step.read_text(), flush=True)
else:
    step.parent.mkdir()
    step.write_text(os.environ["AZ_BATCHAI_TASK_INDEX"])
    print("saved", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def talk(stack: Stack) -> Iterator[Talk]:
    talk = Talk(stack.address, stack.token, is_silent=True)
    talk.ask("PUT", WORKSPACE, expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 3}
    talk.ask("PUT", f"{WORKSPACE}/clusters/cpu", body=body, expect=(200, 201))
    yield talk
    cancel_all(talk)
    talk.close()


def submit(talk: Talk, script: str, *, sources: dict[str, str] | None = None, **more: Any) -> str:
    """Submit ``script.py``, or several sources; returns the run's id."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, source in (sources or {"script.py": script}).items():
            info = tarfile.TarInfo(name)
            info.size = len(source.encode())
            archive.addfile(info, io.BytesIO(source.encode()))
    answer = talk.client.put(
        f"{WORKSPACE}/snapshots", content=packed.getvalue(), headers=talk.authorization()
    )
    body = {
        "experiment_name": "gangs",
        "snapshot_id": answer.json()["id"],
        "cluster_name": "cpu",
        "entry_script": "script.py",
        **more,
    }
    created = talk.ask("POST", f"{WORKSPACE}/runs", body=body, expect=(201,))
    return str(created.json()["id"])


def await_end(talk: Talk, run_id: str, *, seconds: float = 240) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        run: dict[str, Any] = talk.get(f"{WORKSPACE}/runs/{run_id}")
        if run["status"] in {"Completed", "Failed", "Canceled"}:
            return run
        assert time.monotonic() < deadline, f"still {run['status']}: {run}"
        time.sleep(0.1)


def text(talk: Talk, run_id: str, path: str) -> str:
    address = f"{WORKSPACE}/runs/{run_id}/{path}"
    return str(talk.client.get(address, headers=talk.authorization()).text)


def await_that(what: Callable[[], object], *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def test_parameter_servers_are_ended_when_the_workers_are_done(talk: Talk) -> None:
    distribution = {"type": "parameter_server", "worker_count": 2, "parameter_server_count": 2}
    run_id = submit(talk, ROLES, node_count=3, distribution=distribution)
    run = await_end(talk, run_id)
    assert (run["status"], run["error"]) == ("Completed", None), run
    assert run["outputs_partial"] is False
    seen = {}
    for role, index in (("worker", 0), ("worker", 1), ("ps", 0), ("ps", 1)):
        config = json.loads(text(talk, run_id, f"files/outputs/{role}-{index}.json"))
        assert config["task"] == {"type": role, "index": index}
        assert config["environment"] == "cloud"
        seen[role, index] = config["cluster"]
    cluster = seen["ps", 0]
    assert all(other == cluster for other in seen.values())
    assert {role: len(places) for role, places in cluster.items()} == {"ps": 2, "worker": 2}
    places = [place for found in cluster.values() for place in found]
    assert len({place.split(":")[0] for place in places}) == 3
    assert len({place.split(":")[1] for place in places}) == 4
    # Node 0, where rank 0 is, wins a name; nothing of the others is lost.
    assert text(talk, run_id, "files/nodes/1/outputs/same.txt") == "worker 1"
    assert text(talk, run_id, "logs?stream=user_logs/std_log_ps_0.txt") == "listening\n"
    assert text(talk, run_id, "logs?stream=nodes/1/logs/own.txt") == "worker 1"


def test_the_first_failure_is_named_and_stops_the_others(stack: Stack, talk: Talk) -> None:
    distribution = {"type": "pytorch"}
    run_id = submit(talk, ONE_FAILS, node_count=2, distribution=distribution)
    run = await_end(talk, run_id, seconds=60)
    error = run["error"]
    assert run["status"] == "Failed"
    assert (error["code"], error["rank"], error["role"]) == ("process_failed", 1, "process")
    assert (error["node"], error["exit_code"], error["signal"]) == ("node 1", 7, None)
    assert error["last_lines"] == ["about to fail"]
    assert run["attempt"] == 1
    assert not node_processes(stack, "script.py")


@pytest.mark.fault(32)
def test_a_lost_node_means_a_new_attempt_of_all(stack: Stack, talk: Talk) -> None:
    run_id = submit(talk, MEETING, node_count=2)
    await_that(
        lambda: "at work" in text(talk, run_id, "logs?stream=user_logs/std_log_worker_1.txt")
    )
    os.kill(node_processes(stack, "runner/main.py", f"{run_id}-a1-n1")[0].pid, signal.SIGKILL)
    run = await_end(talk, run_id)
    assert (run["status"], run["attempt"]) == ("Completed", 2), run
    attempts = talk.get(f"{WORKSPACE}/runs/{run_id}/attempts")["items"]
    assert [item["outcome"] for item in attempts] == ["Lost", "Completed"]
    hosts = text(talk, run_id, "logs?stream=user_logs/std_log_worker_0.txt").split()[-1]
    assert len(set(hosts.split(","))) == 2
    assert text(talk, run_id, "files/outputs/node.txt") == "0"
    assert text(talk, run_id, "files/nodes/1/outputs/node.txt") == "1"


def test_a_new_attempt_goes_on_from_what_was_saved(stack: Stack, talk: Talk) -> None:
    run_id = submit(talk, RESUMING, node_count=2)
    runner = f"{run_id}-a1-n1"
    await_that(lambda: kept_by(talk, run_id) == {f"tw-{run_id}-a1-n{index}" for index in (0, 1)})
    os.kill(node_processes(stack, "runner/main.py", runner)[0].pid, signal.SIGKILL)
    run = await_end(talk, run_id)
    assert (run["status"], run["attempt"]) == ("Completed", 2), run
    streams = [f"logs?stream=user_logs/std_log_worker_{rank}.txt" for rank in range(2)]
    found = [text(talk, run_id, stream).splitlines()[-1] for stream in streams]
    assert found == ["went on from 0", "went on from 1"]


def test_a_canceled_gang_leaves_nothing(stack: Stack, talk: Talk) -> None:
    run_id = submit(talk, MEETING, node_count=3)
    streams = [f"logs?stream=user_logs/std_log_worker_{rank}.txt" for rank in range(3)]
    await_that(lambda: all("at work" in text(talk, run_id, stream) for stream in streams))
    talk.ask("POST", f"{WORKSPACE}/runs/{run_id}/cancel", expect=(202,))
    run = await_end(talk, run_id)
    assert (run["status"], run["error"]) == ("Canceled", None)
    assert not node_processes(stack, "script.py")
    await_that(lambda: not list((stack.data_dir / "nodes").iterdir()))


def kept_by(talk: Talk, run_id: str) -> set[str]:
    """Nodes of which a checkpoint has been kept."""
    events = talk.get(f"{WORKSPACE}/runs/{run_id}/events")["items"]
    return {event["actor"] for event in events if event["type"] == "checkpoint_kept"}


def node_processes(stack: Stack, word: str, node: str = "") -> list[psutil.Process]:
    """Processes of this stack's nodes whose command line holds a word."""
    found = []
    for process in psutil.process_iter():
        try:
            folder, words = process.cwd(), process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        is_ours = str(stack.data_dir) in folder and node in folder
        if is_ours and any(word in item for item in words):
            found.append(process)
    return found


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that waits for no node."""
    settings = {
        "TRAINWRIGHT_HEARTBEAT_SECONDS": "0.5",
        "TRAINWRIGHT_GANG_START_TIMEOUT_SECONDS": "0",
    }
    stack = Stack(tmp_path_factory.mktemp("hasty").resolve() / "data", settings=settings)
    stack.start()
    yield stack
    assert stack.stop() == [], "the stack left processes behind"


def test_nodes_that_are_late_are_named_and_nothing_starts(hasty: Stack) -> None:
    talk = Talk(hasty.address, hasty.token, is_silent=True)
    talk.ask("PUT", WORKSPACE, expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 2}
    talk.ask("PUT", f"{WORKSPACE}/clusters/cpu", body=body, expect=(200, 201))
    run_id = submit(talk, MEETING, node_count=2)
    run = await_end(talk, run_id)
    assert (run["status"], run["error"]["code"]) == ("Failed", "gang_not_ready")
    assert "node 0, node 1" in run["error"]["message"]
    assert "at work" not in text(talk, run_id, "logs")
    await_that(lambda: not list(hasty.data_dir.glob("nodes/*")))
    talk.close()


def test_a_parameter_server_beside_its_worker(talk: Talk) -> None:
    run_id = submit(talk, ROLES, distribution={"type": "parameter_server"})
    run = await_end(talk, run_id)
    assert (run["status"], run["outputs_partial"]) == ("Completed", False), run
