"""Ranks in containers: no remote shell, no root, no capability."""

import json
import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from app.auth.signing import Signer
from app.environments.docker_builder import DockerImageBuilder
from app.environments.image_engine import ImageEngine
from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests import docker_engine
from tests.e2e import horovod_runs
from tests.e2e.horovod_runs import COMPILE_SECONDS, WHEELS, train, train_by_tensorflow
from tests.e2e.mpi_scripts import ONE_ENDS_BADLY, SUM
from tests.e2e.scripts import await_status, await_true, cancel_all, submit

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300)]
WORKSPACE = "ranks"
_NAME = "trainwright-test/python:for-ranks"


@pytest.fixture(scope="module")
def stack(docker_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with closing(docker_engine.client()) as engine:
        engine.tag(docker_image, *_NAME.split(":"))
    settings = {
        "TRAINWRIGHT_PROVIDER": "docker",
        "TRAINWRIGHT_DOCKER_URL": docker_engine.DOCKER_URL,
        "TRAINWRIGHT_BASE_IMAGES": f'{{"3.11": "{_NAME}"}}',
        "TRAINWRIGHT_BUILD_CA_FILE": os.environ.get("SSL_CERT_FILE", ""),
        "TRAINWRIGHT_HEARTBEAT_SECONDS": "0.5",
        "TRAINWRIGHT_WHEELS_DIR": str(WHEELS),
        "TRAINWRIGHT_FETCH_ALLOW": '["127.0.0.1"]',
    }
    folder = tmp_path_factory.mktemp("docker").resolve() / "data"
    stack = Stack(folder, settings={key: value for key, value in settings.items() if value})
    stack.start()
    talk = Talk(stack.address, stack.token, is_silent=True)
    yield stack
    hashes = [i["hash"] for i in talk.get(f"/v1/workspaces/{WORKSPACE}/images")["items"]]
    talk.close()
    assert stack.stop() == [], "the stack left processes behind"
    for image_hash in hashes:
        DockerImageBuilder(ImageEngine(docker_engine.DOCKER_URL)).remove(image_hash)
    with closing(docker_engine.client()) as engine:
        owner = Signer.load(stack.data_dir).installation_id
        for volume in docker_engine.kept_inputs(engine, owner):
            engine.remove_volume(volume)


@pytest.fixture
def talk(stack: Stack) -> Iterator[Talk]:
    talk = Talk(stack.address, stack.token, is_silent=True)
    talk.ask("PUT", f"/v1/workspaces/{WORKSPACE}", expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 2}
    talk.ask("PUT", f"/v1/workspaces/{WORKSPACE}/clusters/cpu", body=body, expect=(200, 201))
    yield talk
    cancel_all(talk, workspace=WORKSPACE)
    talk.close()


def text(talk: Talk, run_id: str, path: str) -> str:
    address = f"/v1/workspaces/{WORKSPACE}/runs/{run_id}/{path}"
    return str(talk.client.get(address, headers=talk.authorization()).text)


def containers_of(run_id: str) -> list[str]:
    with closing(docker_engine.client()) as engine:
        return [each["Id"] for each in engine.containers(all=True, filters={"name": run_id})]


def test_ranks_in_containers_know_and_reach_each_other(talk: Talk) -> None:
    run_id = submit(
        talk, SUM, workspace=WORKSPACE, node_count=2, process_count_per_node=2,
        distribution={"type": "mpi"},
    )  # fmt: skip
    run = await_status(talk, run_id, "Completed", workspace=WORKSPACE, seconds=240)
    assert run["request"]["environment"]["apt_packages"] == ["openmpi-bin"]
    for rank in range(4):
        said = text(talk, run_id, f"logs?stream=user_logs/std_log_process_{rank}.txt")
        assert said == f"rank {rank} sees 10\nto standard error\n"
        seen = json.loads(text(talk, run_id, f"files/outputs/rank-{rank}.json"))
        assert seen["OMPI_COMM_WORLD_LOCAL_RANK"] == str(rank % 2)
        assert not seen["AZ_BATCH_MASTER_NODE"].startswith("127.")
    await_true(lambda: not containers_of(run_id))


def test_the_rank_that_failed_in_its_container_is_named(talk: Talk) -> None:
    run_id = submit(
        talk, ONE_ENDS_BADLY, workspace=WORKSPACE, node_count=2,
        distribution={"type": "mpi"}, arguments=["7"],
    )  # fmt: skip
    run = await_status(talk, run_id, "Failed", workspace=WORKSPACE, seconds=100)
    error = run["error"]
    assert (error["rank"], error["node"], error["exit_code"]) == (1, "node 1", 7)
    await_true(lambda: not containers_of(run_id))


@pytest.mark.timeout(COMPILE_SECONDS + 100)
def test_horovod_trains_in_two_containers(talk: Talk, digits_address: str) -> None:
    horovod_runs.prepare(talk, WORKSPACE, digits_address)

    by_mpi = train(talk, WORKSPACE, "--style", "tape")
    by_gloo = train(talk, WORKSPACE, controller="gloo")

    await_true(lambda: not containers_of(by_mpi) and not containers_of(by_gloo))


@pytest.mark.timeout(COMPILE_SECONDS + 100)
def test_workers_of_tensorflow_train_in_two_containers(talk: Talk, digits_address: str) -> None:
    horovod_runs.prepare(talk, WORKSPACE, digits_address)

    run_id = train_by_tensorflow(talk, WORKSPACE, {"type": "multi_worker"})

    await_true(lambda: not containers_of(run_id))
