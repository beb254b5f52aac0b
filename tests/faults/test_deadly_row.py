"""A run whose every look ends the worker that looks: real workers, killed in its turn."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import psutil
import pytest

from app.kernel.crash_points import CrashPoint
from tests.faults.small_stack import SmallStack
from tests.faults.test_crash_points import (
    SLEEPING,
    assert_no_node,
    end,
    processes_of,
    rows_of,
    run,
    submit,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]
_DEADLY = CrashPoint.ATTEMPT_GIVEN_UP
"""Only a run comes there whose node was lost, and it does with every look."""


def lose_node(stack: SmallStack, run_id: str) -> None:
    for process in processes_of(stack, f"tw-{run_id}-a1-n0"):
        with suppress(psutil.NoSuchProcess):
            if "runner/main.py" in " ".join(process.cmdline()):
                process.kill()


def turns_that_never_came_back(stack: SmallStack, run_id: str) -> tuple[int, bool]:
    """How many, and whether the run has been set aside for them."""
    statement = "SELECT unfinished_turns, lease_token = 'set-aside' FROM runs WHERE id = %s"
    ((count, is_aside),) = rows_of(stack, statement, run_id)
    return count, bool(is_aside)


def is_aside_after(stack: SmallStack, run_id: str, count: int) -> bool:
    return turns_that_never_came_back(stack, run_id) == (count, True)


def let_it_be_looked_at(stack: SmallStack, run_id: str) -> None:
    """As if it had been set aside for long enough."""
    rows_of(
        stack,
        "UPDATE runs SET lease_expires_at = clock_timestamp() WHERE id = %s RETURNING id",
        run_id,
    )


@pytest.fixture
def long_leases(stack: SmallStack) -> Iterator[None]:
    """Workers of whom a slow turn is not taken for one that never came back."""
    longer = {"TRAINWRIGHT_LEASE_SECONDS": "6"}
    with stack.parts_with({"worker-1": longer, "worker-2": longer}):
        yield


@pytest.mark.usefixtures("long_leases")
@pytest.mark.fault(10)
def test_a_run_that_kills_each_worker_is_set_aside_then_fails_and_others_go_on(
    stack: SmallStack,
) -> None:
    run_id = submit(stack, SLEEPING, max_attempts=2)
    logs = f"/runs/{run_id}/logs"
    stack.wait(lambda: stack.ask("GET", f"/runs/{run_id}")["status"] == "Running")
    stack.wait(lambda: b"up" in stack.ask("GET", logs).splitlines())
    stack.arm(_DEADLY)
    deaths = 0
    try:
        lose_node(stack, run_id)

        def is_aside() -> bool:
            nonlocal deaths
            if stack.has_crashed():
                deaths += 1
                stack.arm(_DEADLY)
            return turns_that_never_came_back(stack, run_id)[1]

        stack.wait(is_aside)
        assert deaths == 3
        (said,) = stack.ask("GET", f"/runs/{run_id}")["blockers"]
        assert (said["code"], said["detail"]) == ("failing", "WorkerDied")
        run(stack)
        assert not stack.has_crashed()

        for count in (4, 5):
            let_it_be_looked_at(stack, run_id)
            stack.wait(stack.has_crashed)
            stack.arm(_DEADLY)
            stack.wait(partial(is_aside_after, stack, run_id, count))
        let_it_be_looked_at(stack, run_id)

        found = end(stack, run_id, "Failed")
    finally:
        stack.crash_file.unlink(missing_ok=True)
    assert found["error"]["code"] == "worker_died"
    assert "6 times" in found["error"]["message"]
    assert_no_node(stack, f"tw-{run_id}")
    stack.wait(lambda: stack.ask("GET", f"/runs/{run_id}")["logs_sealed_at"])
    assert stack.ask("GET", f"{logs}?stream=user_logs/std_log.txt") == b"up\n"
    stack.assert_whole()
