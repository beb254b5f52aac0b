"""Real Horovod on two virtual nodes of this machine."""

from collections.abc import Iterator

import pytest

from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e import horovod_runs
from tests.e2e.horovod_runs import COMPILE_SECONDS, WHEELS, log, train
from tests.e2e.scripts import cancel_all

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(COMPILE_SECONDS + 100)]
WORKSPACE = "horovod"


@pytest.fixture(scope="module")
def talk(live_stack: Stack, digits_address: str) -> Iterator[Talk]:
    talk = Talk(live_stack.address, live_stack.token, is_silent=True)
    horovod_runs.prepare(talk, WORKSPACE, digits_address)
    yield talk
    talk.close()


@pytest.fixture(autouse=True)
def nothing_goes_on(talk: Talk) -> Iterator[None]:
    yield
    cancel_all(talk, workspace=WORKSPACE)


def test_two_ranks_train_together(talk: Talk) -> None:
    run_id = train(talk, WORKSPACE)
    run = talk.get(f"/v1/workspaces/{WORKSPACE}/runs/{run_id}")
    image = talk.get(f"/v1/workspaces/{WORKSPACE}/images/{run['image_hash']}")
    assert image["packages"]["horovod"] == "0.28.1"
    assert image["packages"]["tensorflow-cpu"] == "2.15.1"
    assert "horovod-0.28.1" in log(talk, WORKSPACE, run_id)
    assert list(WHEELS.glob("horovod-0.28.1-tensorflow-cpu-2.15.1-python3.11-*/*.whl"))


def test_two_ranks_train_together_without_mpi(talk: Talk) -> None:
    run_id = train(talk, WORKSPACE, "--style", "tape", controller="gloo")
    assert "nothing to build" in log(talk, WORKSPACE, run_id)
