"""The engine goes away and comes back: runs say so, go on by themselves, and leave nothing."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from app.auth.signing import Signer
from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests import docker_engine
from tests.e2e.test_gangs import RESUMING, WORKSPACE, await_end, cancel_all, submit, text
from tests.engines import Engine, segment

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def place(docker_image: str) -> Iterator[tuple[Engine, str]]:
    """An engine, and the address at which its containers reach this machine."""
    with segment() as network, network.engine("fragile") as engine:
        engine.load()
        yield engine, network.gateway


@pytest.fixture(scope="module")
def engine(place: tuple[Engine, str]) -> Engine:
    return place[0]


@pytest.fixture(scope="module")
def stack(place: tuple[Engine, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    engine, gateway = place
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = {
        "TRAINWRIGHT_PROVIDER": "docker",
        "TRAINWRIGHT_DOCKER_URL": engine.url,
        "TRAINWRIGHT_NODE_URL": f"http://{gateway}:{port}",
        "TRAINWRIGHT_BASE_IMAGES": json.dumps({"3.11": docker_engine.BASE_IMAGE}),
        "TRAINWRIGHT_BUILD_CA_FILE": os.environ.get("SSL_CERT_FILE", ""),
        "TRAINWRIGHT_HEARTBEAT_SECONDS": "0.5",
        "TRAINWRIGHT_LEAK_CHECK_SECONDS": "0.5",
    }
    folder = tmp_path_factory.mktemp("outages").resolve() / "data"
    given = {key: value for key, value in settings.items() if value}
    stack = Stack(folder, port=port, settings=given)
    stack.start()
    yield stack
    assert stack.stop() == [], "the stack left processes behind"


@pytest.fixture
def talk(stack: Stack, engine: Engine) -> Iterator[Talk]:
    talk = Talk(stack.address, stack.token, is_silent=True)
    talk.ask("PUT", WORKSPACE, expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 2}
    talk.ask("PUT", f"{WORKSPACE}/clusters/cpu", body=body, expect=(200, 201))
    yield talk
    cancel_all(talk)
    owner = Signer.load(stack.data_dir).installation_id
    with closing(engine.client()) as client:
        await_that(lambda: not docker_engine.left_of_nodes(client, owner), "something is left")
    assert talk.get("/v1/leaks")["items"] == []
    talk.close()


def await_that(what: Callable[[], object], complaint: str, *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.1)


def run_of(talk: Talk, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = talk.get(f"{WORKSPACE}/runs/{run_id}")
    return found


def is_blocked(talk: Talk, run_id: str) -> bool:
    codes = [blocker["code"] for blocker in run_of(talk, run_id)["blockers"]]
    return "provider_unavailable" in codes


def has_saved(talk: Talk, run_id: str) -> bool:
    events = talk.get(f"{WORKSPACE}/runs/{run_id}/events")["items"]
    return any(event["type"] == "checkpoint_kept" for event in events)


@pytest.mark.fault(30)
def test_a_restart_of_the_engine_begins_another_attempt_with_the_checkpoints(
    talk: Talk, engine: Engine
) -> None:
    run_id = submit(talk, RESUMING)
    await_that(lambda: has_saved(talk, run_id), "no checkpoint came")

    engine.kill()
    try:
        await_that(lambda: is_blocked(talk, run_id), "the run does not say that the engine is away")
        assert run_of(talk, run_id)["status"] == "Running"
    finally:
        engine.start()

    run = await_end(talk, run_id, seconds=120)
    assert (run["status"], run["error"], run["attempt"]) == ("Completed", None, 2), run
    assert "went on from 0" in text(talk, run_id, "logs")
    attempts = talk.get(f"{WORKSPACE}/runs/{run_id}/attempts")["items"]
    assert [attempt["outcome"] for attempt in attempts] == ["Lost", "Completed"]


@pytest.mark.fault(32)
def test_a_container_removed_by_hand_begins_another_attempt(talk: Talk, engine: Engine) -> None:
    run_id = submit(talk, RESUMING)
    await_that(lambda: has_saved(talk, run_id), "no checkpoint came")

    with closing(engine.client()) as client:
        client.remove_container(f"tw-{run_id}-a1-n0", force=True)

    run = await_end(talk, run_id, seconds=120)
    assert (run["status"], run["error"], run["attempt"]) == ("Completed", None, 2), run


@pytest.mark.fault(29)
def test_a_run_that_is_submitted_while_the_engine_is_away_waits_and_says_so(
    talk: Talk, engine: Engine
) -> None:
    engine.stop()
    try:
        run_id = submit(talk, "print('at last')")

        await_that(lambda: is_blocked(talk, run_id), "the run does not say that the engine is away")
    finally:
        engine.start()
    run = await_end(talk, run_id, seconds=120)
    assert (run["status"], run["attempt"]) == ("Completed", 1), run
