"""Clients and nodes reach the API over a link that loses packets, or one as slow as a modem."""

import json
from collections.abc import Iterator

import pytest

from tests import links
from tests.faults.conftest import small_stack
from tests.faults.small_stack import SmallStack
from tests.faults.test_crash_points import end, submit
from tests.links import Link

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]

LINES = 5000
SCRIPT = f"""
import random
from azureml.core import Run
run = Run.get_context()
print(*(f"line {{number}}" for number in range({LINES})), sep="\\n")
for number in range(20):
    run.log("loss", number)
open("outputs/o", "wb").write(random.Random(1).randbytes(20_000))
"""


@pytest.fixture(scope="module")
def link() -> Iterator[Link]:
    if not links.can_be_made():
        pytest.skip(links.NO_LINKS)
    with links.link() as made:
        yield made


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, broker_url: str, link: Link
) -> Iterator[SmallStack]:
    folder = tmp_path_factory.mktemp("networks")
    settings = {"TRAINWRIGHT_ALLOWED_HOSTS": json.dumps([link.address])}
    with (
        link.listen() as listener,
        small_stack(folder, postgres_url, broker_url, listener, **settings) as stack,
    ):
        yield stack


@pytest.mark.fault(53)
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_run_over_a_link_that_loses_packets(stack: SmallStack, link: Link, share: float) -> None:
    with link.losing(share):
        assert_runs_once(stack)
    stack.assert_whole()


@pytest.mark.fault(54)
def test_a_run_over_a_link_as_slow_as_a_modem(stack: SmallStack, link: Link) -> None:
    with link.slowed(56_000):
        assert_runs_once(stack)
    stack.assert_whole()


def assert_runs_once(stack: SmallStack) -> None:
    """A run completes in its first attempt, with every line, value and byte once."""
    run_id = submit(stack, SCRIPT)
    # A packet that is lost again and again is waited for ever longer.
    end(stack, run_id, seconds=200)
    assert len(stack.ask("GET", f"/runs/{run_id}/attempts")["items"]) == 1
    log = stack.ask("GET", f"/runs/{run_id}/logs?stream=user_logs/std_log.txt").decode()
    assert log.splitlines() == [f"line {number}" for number in range(LINES)]
    (metric,) = stack.ask("GET", f"/runs/{run_id}/metrics")["items"]
    assert [point["value"] for point in metric["points"]] == list(range(20))
    assert len(stack.ask("GET", f"/runs/{run_id}/files/outputs/o")) == 20_000
