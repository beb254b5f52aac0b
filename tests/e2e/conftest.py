"""A real stack, started as a user starts it, for tests that walk through all of it."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.digits import serve_folder, write_digits
from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e.horovod_runs import WHEELS
from tests.e2e.swarm_runs import swarm_stack
from tests.environments.registry import has_registry
from tests.swarm import Swarm


@pytest.fixture(scope="session")
def live_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A ``trainwright up`` child on a fresh data folder and a free port, with its first token."""
    folder = tmp_path_factory.mktemp("live").resolve() / "data"
    settings = {
        "TRAINWRIGHT_FETCH_ALLOW": '["127.0.0.1"]',
        "TRAINWRIGHT_DATASTORE_FOLDERS": json.dumps([str(folder.with_name("shared"))]),
        "TRAINWRIGHT_WHEELS_DIR": str(WHEELS),
        "TRAINWRIGHT_CAPTURE_WRITE_SECONDS": "1",
    }
    stack = Stack(folder, settings=settings)
    stack.start()
    yield stack
    assert stack.stop() == [], "the stack left processes behind"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose nodes report often, for tests that kill it or parts of it, and restart it.

    Its port stays the same. Neither Open MPI nor its agent may trip over the blank in its folder.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("killed").resolve() / "data folder"
    stack = Stack(folder, port=port, settings={"TRAINWRIGHT_HEARTBEAT_SECONDS": "0.5"})
    stack.start()
    yield stack
    assert stack.stop() == [], "the stack left processes behind"


@pytest.fixture
def talk(live_stack: Stack) -> Iterator[Talk]:
    """A conversation with the live stack, with its first token."""
    talk = Talk(live_stack.address, live_stack.token)
    yield talk
    talk.close()


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four archives."""
    folder = tmp_path_factory.mktemp("digits").resolve()
    write_digits(folder)
    return folder


@pytest.fixture(scope="session")
def digits_address(digits: Path) -> Iterator[str]:
    """The address of a web server that offers the four archives."""
    with serve_folder(digits) as address:
        yield address


@pytest.fixture(scope="module")
def stack_of_two(swarm: Swarm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose nodes live on two engines."""
    if not has_registry():
        pytest.skip("docker-registry is not installed")
    with swarm_stack(swarm, tmp_path_factory.mktemp("swarm").resolve()) as stack:
        yield stack
