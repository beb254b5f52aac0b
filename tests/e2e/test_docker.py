"""Runs in containers through a whole stack: hardened, private, and nothing left of them."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.auth.signing import Signer
from app.environments.docker_builder import REPOSITORY, DockerImageBuilder
from app.environments.image_engine import ImageEngine
from examples import demo
from examples.walk.plan import Walk
from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests import docker_engine
from tests.e2e.test_gangs import ROLES, WORKSPACE, await_end, cancel_all, submit, text

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300)]
_NAME = "trainwright-test/python:for-nodes"
HELLO = """
import os
print("uid", os.getuid(), "in", os.getcwd())
open("outputs/model.txt", "w").write("weights")
"""
ALL_MEET = """
import json, os, socket, time
config = json.loads(os.environ["TF_CONFIG"])
workers, own = config["cluster"]["worker"], config["task"]["index"]
with socket.create_server(("", int(workers[own].split(":")[1])), backlog=9) as server:
    for place in workers:
        host, port = place.split(":")
        for _ in range(200):
            try:
                socket.create_connection((host, int(port))).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        else:
            raise SystemExit(f"{place} does not listen")
    for _ in workers:
        server.accept()[0].close()
print("met", len(workers), flush=True)
if own == 2:
    time.sleep(1)
    os.kill(os.getpid(), int(os.environ.get("SIGNAL", "0")))
elif "SIGNAL" in os.environ:
    time.sleep(600)
"""
TAKES_ALL = "held = [b'x' * (1 << 26) for _ in range(64)]"
CHILD_TAKES_ALL = f"""
import subprocess, sys
child = subprocess.run([sys.executable, "-c", {TAKES_ALL!r}])
print("the child ended with", child.returncode, flush=True)
sys.exit(3)
"""
READS = """
import os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
print(sum(path.stat().st_size for path in folder.rglob("*.gz")), "bytes in", folder)
print("writable" if os.access(folder, os.W_OK) else "read-only")
"""
KEEPS_A_SECRET = """
import os, time
path = os.environ["TRAINWRIGHT_SECRET_DB_FILE"]
found, folder = os.stat(path), os.stat(os.path.dirname(path))
print("mode", oct(found.st_mode & 0o777), oct(folder.st_mode & 0o777), "uid", found.st_uid)
print("value", open(path).read())
mounts = [line.split() for line in open("/proc/mounts")]
kinds = [kind for _, place, kind, *_ in mounts if place == os.path.dirname(path)]
print("on", kinds[0], flush=True)
time.sleep(600)
"""
SLOW = "import time; print('at work', flush=True); time.sleep(600)"


@pytest.fixture(scope="module")
def stack(docker_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with closing(docker_engine.client()) as engine:
        engine.tag(docker_image, *_NAME.split(":"))
    settings = {
        "TRAINWRIGHT_PROVIDER": "docker",
        "TRAINWRIGHT_DOCKER_URL": docker_engine.DOCKER_URL,
        "TRAINWRIGHT_BASE_IMAGES": f'{{"3.11": "{_NAME}"}}',
        "TRAINWRIGHT_BUILD_CA_FILE": os.environ.get("SSL_CERT_FILE", ""),
        "TRAINWRIGHT_FETCH_ALLOW": '["127.0.0.1"]',
        "TRAINWRIGHT_HEARTBEAT_SECONDS": "0.5",
        "TRAINWRIGHT_HOST_METRICS_SECONDS": "0.5",
    }
    folder = tmp_path_factory.mktemp("docker").resolve() / "data"
    stack = Stack(folder, settings={key: value for key, value in settings.items() if value})
    stack.start()
    talk = Talk(stack.address, stack.token, is_silent=True)
    yield stack
    hashes = [image["hash"] for image in talk.get(f"{WORKSPACE}/images")["items"]]
    talk.close()
    assert stack.stop() == [], "the stack left processes behind"
    for image_hash in hashes:
        DockerImageBuilder(ImageEngine(docker_engine.DOCKER_URL)).remove(image_hash)
    with closing(docker_engine.client()) as engine:
        for volume in docker_engine.kept_inputs(engine, owner(stack)):
            engine.remove_volume(volume)


@pytest.fixture
def talk(stack: Stack) -> Iterator[Talk]:
    talk = Talk(stack.address, stack.token, is_silent=True)
    talk.ask("PUT", WORKSPACE, expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 2}
    talk.ask("PUT", f"{WORKSPACE}/clusters/cpu", body=body, expect=(200, 201))
    yield talk
    cancel_all(talk)
    talk.close()
    await_that(lambda: not held(owner(stack)), "containers, volumes or networks are left")


def owner(stack: Stack) -> str:
    """What this installation writes on everything that it makes."""
    return Signer.load(stack.data_dir).installation_id


def held(installation: str) -> list[str]:
    """Whatever of an installation's nodes the engine holds; others may be at work on it."""
    with closing(docker_engine.client()) as engine:
        return docker_engine.left_of_nodes(engine, installation)


def container_of(run_id: str) -> dict[str, Any]:
    with closing(docker_engine.client()) as engine:
        found: dict[str, Any] = engine.inspect_container(f"tw-{run_id}-a1-n0")
    return found


def await_that(what: Callable[[], object], complaint: str, *, seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.1)


@pytest.mark.timeout(1200)
def test_the_whole_walk(
    stack: Stack, digits: Path, digits_address: str, tmp_path: Path, talk: Talk
) -> None:
    walk = Walk(
        talk=talk,
        job=demo.tensorflow_job(version=demo.TENSORFLOW, epochs=5),
        folder=tmp_path,
        digits=digits,
        digits_address=digits_address,
    )

    demo.take(walk)

    assert walk.accuracy >= 0.9


def test_a_run_in_a_container_completes(talk: Talk) -> None:
    run_id = submit(talk, HELLO)

    run = await_end(talk, run_id, seconds=200)

    assert (run["status"], run["error"]) == ("Completed", None), run
    said = text(talk, run_id, "logs")
    assert "uid 1000 in /trainwright/node/work" in said
    assert text(talk, run_id, "files/outputs/model.txt") == "weights"


def test_an_image_removed_by_hand_before_its_node_starts_is_built_again(talk: Talk) -> None:
    body = {"vm_size": "SMALL", "max_nodes": 1}
    talk.ask("PUT", f"{WORKSPACE}/clusters/single", body=body, expect=(200, 201))
    first = submit(talk, SLOW, cluster_name="single")
    await_that(lambda: talk.get(f"{WORKSPACE}/runs/{first}")["status"] == "Running", "not running")
    run_id = submit(
        talk,
        "import six; print('six', six.__file__)",
        cluster_name="single",
        environment={"pip_packages": ["six"]},
    )
    await_that(lambda: talk.get(f"{WORKSPACE}/runs/{run_id}")["status"] == "Queued", "not queued")
    image_hash = talk.get(f"{WORKSPACE}/runs/{run_id}")["image_hash"]
    build_number = talk.get(f"{WORKSPACE}/images/{image_hash}")["build_number"]
    with closing(docker_engine.client()) as engine:
        engine.remove_image(f"{REPOSITORY}:{image_hash}", force=True)
    talk.ask("POST", f"{WORKSPACE}/runs/{first}/cancel", expect=(200, 202))

    run = await_end(talk, run_id)

    assert (run["status"], run["error"]) == ("Completed", None), run
    assert "six /opt/environment/" in text(talk, run_id, "logs")
    image = talk.get(f"{WORKSPACE}/images/{image_hash}")
    assert (image["state"], image["build_number"]) == ("Ready", build_number + 1)
    assert run["image_reference"] == image["reference"]
    assert image["inputs"]["base_digest"].startswith("sha256:")


def test_two_nodes_talk_over_a_network_of_their_own(talk: Talk) -> None:
    distribution = {"type": "parameter_server", "worker_count": 1, "parameter_server_count": 1}
    run_id = submit(talk, ROLES, node_count=2, distribution=distribution)

    run = await_end(talk, run_id)

    assert (run["status"], run["error"]) == ("Completed", None), run
    config = json.loads(text(talk, run_id, "files/outputs/worker-0.json"))
    hosts = {place.split(":")[0] for places in config["cluster"].values() for place in places}
    assert len(hosts) == 2
    assert not any(host.startswith("127.") for host in hosts)


def test_a_container_is_hardened_and_its_removal_by_hand_is_noticed(talk: Talk) -> None:
    run_id = submit(talk, SLOW, max_attempts=1)
    await_that(lambda: talk.get(f"{WORKSPACE}/runs/{run_id}")["status"] == "Running", "not running")
    found = container_of(run_id)
    host = found["HostConfig"]
    assert found["Config"]["User"] == "1000:1000"
    assert (host["ReadonlyRootfs"], host["Init"], host["Privileged"]) == (True, True, False)
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    assert host["PidsLimit"] > 0
    assert host["Binds"] is None
    assert list(found["NetworkSettings"]["Networks"]) == [f"tw-{run_id}-a1"]
    assert all(mount["Type"] == "volume" for mount in found["Mounts"])

    with closing(docker_engine.client()) as engine:
        engine.remove_container(found["Id"], force=True)

    run = await_end(talk, run_id)
    assert run["status"] == "Failed"
    assert run["error"]["code"]


def test_a_secret_is_in_memory_and_shown_by_nothing_of_the_engine(talk: Talk) -> None:
    value = f"canary-{os.urandom(8).hex()}"
    quiet = Talk(talk.base, talk.token, is_silent=True)
    quiet.ask("PUT", f"{WORKSPACE}/secrets/db", body={"value": value}, expect=(200, 201))
    run_id = submit(quiet, KEEPS_A_SECRET, secrets={"DB": {"secret": "db"}})
    await_that(lambda: "on tmpfs" in text(quiet, run_id, "logs"), "the secret was not found")

    found = container_of(run_id)
    with closing(docker_engine.client()) as engine:
        assert value not in json.dumps(found)
        assert value not in json.dumps(engine.history(found["Image"]))
        assert value not in json.dumps(engine.top(found["Id"], "axeww"))
        assert value.encode() not in engine.logs(found["Id"])
        volume = b"".join(engine.get_archive(found["Id"], "/trainwright/node")[0])
    assert value.encode() not in volume
    shown = text(quiet, run_id, "logs")
    assert "mode 0o600 0o700 uid 1000" in shown
    assert "value [secret DB]" in shown
    assert value not in shown
    quiet.ask("POST", f"{WORKSPACE}/runs/{run_id}/cancel", expect=(202,))
    assert await_end(quiet, run_id)["status"] == "Canceled"
    quiet.close()


def test_workers_of_one_role_meet_three_on_two_nodes(talk: Talk) -> None:
    distribution = {"type": "multi_worker", "worker_count": 3}
    run_id = submit(talk, ALL_MEET, node_count=2, distribution=distribution)

    run = await_end(talk, run_id)

    assert (run["status"], run["error"]) == ("Completed", None), run
    streams = [f"logs?stream=user_logs/std_log_worker_{index}.txt" for index in range(3)]
    assert [text(talk, run_id, stream) for stream in streams] == ["met 3\n"] * 3


def test_a_signal_is_told_apart_from_an_exit_code(talk: Talk) -> None:
    distribution = {"type": "multi_worker", "worker_count": 3}
    variables = {"SIGNAL": "11"}
    run_id = submit(
        talk, ALL_MEET, node_count=2, distribution=distribution, environment_variables=variables
    )

    run = await_end(talk, run_id)

    error = run["error"]
    assert (run["status"], error["code"]) == ("Failed", "process_failed")
    assert (error["rank"], error["role"], error["node"]) == (2, "worker", "node 0")
    assert (error["exit_code"], error["signal"]) == (None, "SIGSEGV")
    assert error["last_lines"] == ["met 3"]


@pytest.mark.parametrize(
    ("script", "exit_code", "signal"), [(TAKES_ALL, None, "SIGKILL"), (CHILD_TAKES_ALL, 3, None)]
)
@pytest.mark.fault(34)
def test_lack_of_memory_is_told_apart(
    talk: Talk, script: str, exit_code: int | None, signal: str | None
) -> None:
    run_id = submit(talk, script)

    run = await_end(talk, run_id)

    error = run["error"]
    assert (run["status"], error["code"], run["attempt"]) == ("Failed", "out_of_memory", 1)
    assert (error["exit_code"], error["signal"]) == (exit_code, signal)
    assert "memory" in error["last_lines"][-1]


def test_mounted_inputs_are_brought_to_the_engine_once(
    stack: Stack, talk: Talk, digits: Path, digits_address: str
) -> None:
    urls = [f"{digits_address}/{path.name}" for path in sorted(digits.glob("*.gz"))]
    size_bytes = sum(path.stat().st_size for path in digits.glob("*.gz"))
    body = {"name": "mounted", "urls": urls, "create_new_version": False}
    talk.ask(
        "POST", f"{WORKSPACE}/datasets", body=body, headers={"Prefer": "wait=60"}, expect=(200, 201)
    )
    for place in ("/mnt/data", None):
        argument = {"dataset": "mounted", "name": "digits", "path_on_compute": place}
        run_id = submit(talk, READS, arguments=[argument])

        run = await_end(talk, run_id, seconds=120)

        assert (run["status"], run["error"]) == ("Completed", None), run
        said = text(talk, run_id, "logs")
        assert f"{size_bytes} bytes in {place or '/mnt/inputs/digits'}" in said
        assert "read-only" in said
    with closing(docker_engine.client()) as engine:
        kept = docker_engine.kept_inputs(engine, owner(stack))
    assert kept
    assert not {leak["name"] for leak in talk.get("/v1/leaks")["items"]} & set(kept)


def test_a_container_measures_itself_alone(talk: Talk) -> None:
    script = "import time\nheld = b'x' * (300 << 20)\nprint('held', flush=True)\ntime.sleep(600)"
    run_id = submit(talk, script)
    address = f"{WORKSPACE}/runs/{run_id}/metrics?namespace=host"

    def last() -> dict[str, float]:
        return {item["name"]: item["last"] for item in talk.get(address)["items"]}

    await_that(lambda: last().get("node0.memory_bytes", 0) > 300 << 20, "it measures nothing")

    assert last()["node0.memory_bytes"] < 600 << 20
    assert last()["node0.cpu_percent"] < 150
    talk.ask("POST", f"{WORKSPACE}/runs/{run_id}/cancel", expect=(202,))
    await_end(talk, run_id)
