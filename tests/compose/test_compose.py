"""`docker compose up`: a whole installation of containers, and a run in it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from examples.walk.talk import Talk
from tests import docker_engine
from tests.compose.installation import Installation, installed, nodes_of
from tests.compose.program import NO_COMPOSE, compose_program
from tests.compose.stand_ins import build_all, name_of
from tests.e2e.test_gangs import WORKSPACE, await_end, cancel_all, submit, text

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900)]
OURS = ("api", "worker", "migrate")
HELLO = """
import os
print("hello from", os.getuid())
open("outputs/model.txt", "w").write("weights")
"""
SLOW = """
import pathlib, time
print("at work", flush=True)
while not pathlib.Path("/tmp/stop").exists():
    time.sleep(0.1)
print("at the end")
"""


@pytest.fixture(scope="module")
def installation(
    docker_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    command = compose_program()
    if command is None:
        pytest.skip(NO_COMPOSE)
    build_all(docker_image)
    folder = tmp_path_factory.mktemp("compose").resolve()
    with installed(command, folder, base=docker_engine.BASE_IMAGE) as installation:
        yield installation
    assert installation.left() == []


@pytest.fixture(scope="module")
def talk(installation: Installation) -> Iterator[Talk]:
    made = installation.compose("exec", "-T", "api", "trainwright", "token", "create", "test")
    talk = Talk(installation.address, made.strip(), is_silent=True)
    talk.ask("PUT", WORKSPACE, expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 1}
    talk.ask("PUT", f"{WORKSPACE}/clusters/cpu", body=body, expect=(200, 201))
    yield talk
    talk.close()


@pytest.fixture(autouse=True)
def nothing_goes_on(talk: Talk) -> Iterator[None]:
    yield
    cancel_all(talk)


def await_that(what: Callable[[], object], complaint: str, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.1)


def published(container: dict[str, Any]) -> set[str]:
    """The addresses of this machine at which a container's ports are published."""
    places = container["NetworkSettings"]["Ports"].values()
    return {place["HostIp"] for published in places for place in published or []}


def test_only_the_door_is_open_and_only_workers_have_the_engine(
    installation: Installation,
) -> None:
    doors = {"gateway": {"127.0.0.1", docker_engine.bridge_address()}, "registry": {"127.0.0.1"}}

    for container in installation.containers():
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        assert published(container) == doors.get(service, set()), service
        mounted = {mount["Destination"] for mount in container["Mounts"]}
        assert ("/var/run/docker.sock" in mounted) == (service == "worker"), service


def test_the_api_is_where_workers_start_replicas(installation: Installation) -> None:
    [worker] = installation.containers("worker")
    variables = dict(each.split("=", 1) for each in worker["Config"]["Env"])
    network = variables["TRAINWRIGHT_DOCKER_NETWORK"]

    for container in installation.containers():
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        is_in = network in container["NetworkSettings"]["Networks"]
        assert is_in == (service == "api"), service


def test_every_container_is_hardened(installation: Installation) -> None:
    containers = installation.containers()
    assert len(containers) == 8

    for container in containers:
        host, labels = container["HostConfig"], container["Config"]["Labels"]
        service = labels["com.docker.compose.service"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert not host["Privileged"], service
        assert host["Memory"] > 0, service
        assert host["PidsLimit"] > 0, service
        if service in OURS:
            assert container["Config"]["User"] == "10001:10001", service


def test_no_secret_shows_in_containers_and_images(installation: Installation) -> None:
    names = ("database_password", "broker_password", "signing_key", "registry_password")
    secrets = [installation.secret(name).strip() for name in names]
    with closing(docker_engine.client()) as engine:
        history = json.dumps(engine.history(name_of("trainwright")))
    shown = json.dumps(installation.containers()) + history

    assert all(len(secret) == 64 for secret in secrets)
    assert not [secret for secret in secrets if secret in shown]


def test_names_sort_by_their_characters_whatever_the_image(installation: Installation) -> None:
    asked = "SELECT string_agg(name, ' ' ORDER BY name) FROM unnest('{b,a-c,ab,B}'::text[]) AS name"
    by = ("psql", "--username=trainwright", "--tuples-only", "--no-align", f"--command={asked}")

    assert installation.compose("exec", "-T", "postgres", *by).split() == ["B", "a-c", "ab", "b"]


def test_setup_again_changes_nothing(installation: Installation) -> None:
    before = {name: installation.secret(name) for name in ("signing_key", "registry_htpasswd")}

    installation.prepare()

    assert {name: installation.secret(name) for name in before} == before


def test_links_have_the_scheme_that_the_proxy_in_front_names(talk: Talk) -> None:
    told = {"X-Forwarded-Proto": "https"}
    config = talk.ask("GET", f"{WORKSPACE}/config", headers=told).json()

    assert config["endpoint"].startswith("https://")
    assert talk.get(f"{WORKSPACE}/config")["endpoint"] == talk.base


def test_a_run_is_made_of_an_image_from_the_registry(
    installation: Installation, talk: Talk
) -> None:
    run_id = submit(talk, HELLO)

    run = await_end(talk, run_id, seconds=200)

    assert (run["status"], run["error"]) == ("Completed", None), run
    assert "hello from 1000" in text(talk, run_id, "logs")
    assert text(talk, run_id, "files/outputs/model.txt") == "weights"
    assert run["image_reference"].startswith(f"{installation.registry}/environments@sha256:")
    await_that(lambda: not nodes_of(_owner(installation)), "nodes are left")


def test_the_loss_of_a_replica_of_the_api_is_not_noticed(
    installation: Installation, talk: Talk
) -> None:
    run_id = submit(talk, SLOW)
    await_that(lambda: talk.get(f"{WORKSPACE}/runs/{run_id}")["status"] == "Running", "not running")
    with closing(docker_engine.client()) as engine:
        engine.kill(installation.containers("api")[0]["Id"])
        try:
            for _ in range(50):
                assert talk.get(f"{WORKSPACE}/runs/{run_id}")["status"] == "Running"
            stop = engine.exec_create(f"tw-{run_id}-a1-n0", ["touch", "/tmp/stop"])["Id"]
            engine.exec_start(stop)

            run = await_end(talk, run_id)
            assert (run["status"], run["error"]) == ("Completed", None), run
            assert "at the end" in text(talk, run_id, "logs")
            await_that(lambda: not nodes_of(_owner(installation)), "nodes are left")
        finally:
            installation.up()
    states = [each["State"]["Health"]["Status"] for each in installation.containers("api")]
    assert states == ["healthy", "healthy"]


def health(installation: Installation, service: str) -> set[str]:
    """How the engine finds the containers of a service to be."""
    return {each["State"]["Health"]["Status"] for each in installation.containers(service)}


def test_a_worker_that_cannot_work_is_unhealthy_until_it_can(installation: Installation) -> None:
    assert health(installation, "worker") == {"healthy"}
    [database] = installation.containers("postgres")
    with closing(docker_engine.client()) as engine:
        engine.pause(database["Id"])
        try:
            await_that(
                lambda: health(installation, "worker") == {"unhealthy"},
                "it is taken for healthy",
                seconds=150,
            )
        finally:
            engine.unpause(database["Id"])
    await_that(lambda: health(installation, "worker") == {"healthy"}, "it stays unhealthy")


def _owner(installation: Installation) -> str:
    [worker] = installation.containers("worker")
    program = (
        "from app.auth.signing import Signer; from app.kernel.config import get_settings as s;"
        "print(Signer.load(s().data_dir, s().signing_key_file).installation_id)"
    )
    with closing(docker_engine.client()) as engine:
        asked = engine.exec_create(worker["Id"], ["python", "-c", program])["Id"]
        return str(engine.exec_start(asked).decode().strip())
