"""Runs across two engines through a whole stack: placement, a common network, a lost engine."""

import json
from collections.abc import Iterator

import pytest

from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e.mpi_scripts import SUM
from tests.e2e.swarm_runs import attempts_of, hosts_of, states, talking
from tests.e2e.test_gangs import ROLES, await_end, await_that, kept_by, submit, text
from tests.swarm import Swarm

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(400)]
# Each waits for the other over a connection, as training does: when one engine is cut off the
# other node hears nothing, not even an error.
PAIR = """
import json, os, pathlib, socket, time
config = json.loads(os.environ["TF_CONFIG"])
task, workers = config["task"], config["cluster"]["worker"]
step = pathlib.Path("checkpoints/step.txt")
if step.exists():
    print("went on from", step.read_text(), flush=True)
    raise SystemExit
host, port = workers[0].split(":")
if task["index"] == 0:
    peer = socket.create_server(("", int(port))).accept()[0]
else:
    for _ in range(200):
        try:
            peer = socket.create_connection((host, int(port)))
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
step.parent.mkdir()
step.write_text(f"worker {task['index']}")
print("saved", flush=True)
peer.recv(1)
"""


@pytest.fixture
def talk(stack_of_two: Stack, swarm: Swarm) -> Iterator[Talk]:
    with talking(stack_of_two, swarm) as talk:
        yield talk


def test_roles_meet_across_engines(talk: Talk, swarm: Swarm) -> None:
    distribution = {"type": "parameter_server", "worker_count": 1, "parameter_server_count": 1}
    run_id = submit(talk, ROLES, node_count=2, distribution=distribution)

    run = await_end(talk, run_id, seconds=300)

    assert (run["status"], run["error"]) == ("Completed", None), run
    (attempt,) = attempts_of(talk, run_id)
    assert hosts_of(attempt) == ["alpha", "beta"]
    config = json.loads(text(talk, run_id, "files/outputs/worker-0.json"))
    places = [place for places in config["cluster"].values() for place in places]
    assert all(place.startswith("10.240.") for place in places), places
    assert states(talk) == {"alpha": "ready", "beta": "ready"}


def test_ranks_by_mpi_reach_each_other_across_engines(talk: Talk) -> None:
    run_id = submit(talk, SUM, node_count=2, distribution={"type": "mpi"})

    run = await_end(talk, run_id, seconds=300)

    assert (run["status"], run["error"]) == ("Completed", None), run
    (attempt,) = attempts_of(talk, run_id)
    assert hosts_of(attempt) == ["alpha", "beta"]
    for rank in (0, 1):
        said = text(talk, run_id, f"logs?stream=user_logs/std_log_process_{rank}.txt")
        assert f"rank {rank} sees 3" in said


@pytest.mark.fault(42)
def test_an_engine_that_is_cut_off_is_named_and_the_run_goes_on_elsewhere(
    talk: Talk, swarm: Swarm
) -> None:
    run_id = submit(talk, PAIR, node_count=2, distribution={"type": "multi_worker"})
    await_that(lambda: len(kept_by(talk, run_id)) == 2, seconds=300)

    swarm.beta.cut_off()
    try:
        run = await_end(talk, run_id)
        assert states(talk)["beta"] == "down"
    finally:
        swarm.beta.plug_in()

    assert (run["status"], run["attempt"], run["error"]) == ("Completed", 2, None), run
    first, second = attempts_of(talk, run_id)
    assert first["outcome"] == "Lost"
    assert first["error"]["code"] == "node_lost"
    assert first["error"]["host"] == "beta"
    lost = next(node for node in first["nodes"] if node["host"] == "beta")
    assert first["error"]["node"] == f"node {lost['node_index']}"
    assert "Engine beta is down" in first["error"]["message"]
    assert {node["host"] for node in second["nodes"]} == {"alpha"}
    for rank in (0, 1):
        said = text(talk, run_id, f"logs?stream=user_logs/std_log_worker_{rank}.txt")
        assert f"went on from worker {rank}" in said
    # What was left on the engine is found and removed now that it is back: see `talk`.
    await_that(lambda: states(talk)["beta"] == "ready")
