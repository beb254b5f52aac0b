"""Runs across two engines through a whole stack: placement, a common network, a lost engine."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from app.providers.docker.container import OWNER_LABEL
from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests import docker_engine
from tests.e2e.mpi_scripts import SUM
from tests.e2e.test_gangs import ROLES, WORKSPACE, await_end, await_that, kept_by, submit, text
from tests.engines import Engine
from tests.environments.registry import has_registry, private_registry
from tests.swarm import Swarm

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(400)]
BASE = "trainwright-test/python:for-nodes"
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


@pytest.fixture(scope="module")
def stack(swarm: Swarm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if not has_registry():
        pytest.skip("docker-registry is not installed")
    folder = tmp_path_factory.mktemp("swarm").resolve()
    with socket.create_server((swarm.gateway, 0)) as probe:
        port = probe.getsockname()[1]
    with closing(swarm.alpha.client()) as engine:
        engine.tag(docker_engine.BASE_IMAGE, *BASE.split(":"))
    with private_registry(folder, host=swarm.gateway) as registry:
        settings = {
            "TRAINWRIGHT_PROVIDER": "docker",
            "TRAINWRIGHT_DOCKER_URL": swarm.alpha.url,
            "TRAINWRIGHT_DOCKER_ENGINES": json.dumps(swarm.engines),
            "TRAINWRIGHT_NODE_URL": f"http://{swarm.gateway}:{port}",
            "TRAINWRIGHT_IMAGE_REGISTRY": f"{registry.address}/runs",
            "TRAINWRIGHT_REGISTRY_CREDENTIALS_FILE": str(registry.credentials_file),
            "TRAINWRIGHT_BASE_IMAGES": f'{{"3.11": "{BASE}"}}',
            "TRAINWRIGHT_BUILD_CA_FILE": os.environ.get("SSL_CERT_FILE", ""),
            "TRAINWRIGHT_HEARTBEAT_SECONDS": "0.5",
            "TRAINWRIGHT_HEARTBEAT_TIMEOUT_SECONDS": "3",
            "TRAINWRIGHT_HOST_CHECK_SECONDS": "1",
            "TRAINWRIGHT_LEAK_CHECK_SECONDS": "1",
            "TRAINWRIGHT_LEAK_GRACE_SECONDS": "2",
        }
        given = {key: value for key, value in settings.items() if value}
        stack = Stack(folder / "data", port=port, settings=given)
        stack.start()
        yield stack
        assert stack.stop() == [], "the stack left processes behind"


@pytest.fixture
def talk(stack: Stack, swarm: Swarm) -> Iterator[Talk]:
    talk = Talk(stack.address, stack.token, is_silent=True)
    talk.ask("PUT", WORKSPACE, expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 2, "idle_seconds_before_scaledown": 0}
    talk.ask("PUT", f"{WORKSPACE}/clusters/cpu", body=body, expect=(200, 201))
    yield talk
    talk.close()
    await_that(lambda: not held(swarm.alpha) and not held(swarm.beta))


def held(engine: Engine) -> list[str]:
    """Whatever of nodes an engine holds."""
    ours = {"label": OWNER_LABEL}
    with closing(engine.client()) as client:
        containers = [each["Id"] for each in client.containers(all=True, filters=ours)]
        volumes = [each["Name"] for each in client.volumes(filters=ours)["Volumes"] or []]
        networks = [each["Name"] for each in client.networks(filters=ours)]
    return containers + volumes + networks


def attempts_of(talk: Talk, run_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = talk.get(f"{WORKSPACE}/runs/{run_id}/attempts")["items"]
    return items


def states(talk: Talk) -> dict[str, str]:
    return {host["name"]: host["state"] for host in talk.get("/v1/hosts")["items"]}


def test_roles_meet_across_engines(talk: Talk, swarm: Swarm) -> None:
    distribution = {"type": "parameter_server", "worker_count": 1, "parameter_server_count": 1}
    run_id = submit(talk, ROLES, node_count=2, distribution=distribution)

    run = await_end(talk, run_id, seconds=300)

    assert (run["status"], run["error"]) == ("Completed", None), run
    (attempt,) = attempts_of(talk, run_id)
    assert sorted(node["host"] for node in attempt["nodes"]) == ["alpha", "beta"]
    config = json.loads(text(talk, run_id, "files/outputs/worker-0.json"))
    places = [place for places in config["cluster"].values() for place in places]
    assert all(place.startswith("10.240.") for place in places), places
    assert states(talk) == {"alpha": "ready", "beta": "ready"}


def test_ranks_by_mpi_reach_each_other_across_engines(talk: Talk) -> None:
    run_id = submit(talk, SUM, node_count=2, distribution={"type": "mpi"})

    run = await_end(talk, run_id, seconds=300)

    assert (run["status"], run["error"]) == ("Completed", None), run
    (attempt,) = attempts_of(talk, run_id)
    assert sorted(node["host"] for node in attempt["nodes"]) == ["alpha", "beta"]
    for rank in (0, 1):
        said = text(talk, run_id, f"logs?stream=user_logs/std_log_process_{rank}.txt")
        assert f"rank {rank} sees 3" in said


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
