"""Machines whose clocks are wrong: what several compare goes by the clock of the database."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults import clocks
from tests.faults.small_stack import SmallStack
from tests.faults.test_crash_points import SCRIPT, end, submit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180, func_only=True),
    pytest.mark.skipif(clocks.compiler() is None, reason=clocks.NO_COMPILER),
]
_RUNS = 3
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clocks.compiled(tmp_path_factory.mktemp("clock"))


def seems_off_seconds(stack: SmallStack, part: str) -> float:
    """By how much the last moment that a part has printed differs from now."""
    last = datetime.fromisoformat(_MOMENT.findall(stack.log_of(part))[-1])
    return (last.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()


@pytest.mark.fault(12)
@pytest.mark.parametrize(
    "off_seconds",
    [
        {"worker-1": 3600, "worker-2": -3600},
        {"api-1": -3600, "api-2": -3600, "worker-1": 600},
    ],
    ids=["workers", "APIs and a worker"],
)
def test_parts_whose_clocks_are_wrong_lose_nothing_and_double_nothing(
    stack: SmallStack, library: Path, off_seconds: dict[str, int]
) -> None:
    wrong = {part: clocks.wrong_by(seconds, library) for part, seconds in off_seconds.items()}
    with stack.parts_with(wrong):
        runs = [submit(stack, SCRIPT.format(number)) for number in range(_RUNS)]
        ended = [end(stack, run_id) for run_id in runs]
        seen = {part: seems_off_seconds(stack, part) for part in off_seconds}

    assert seen == pytest.approx(off_seconds, abs=120)
    assert [run["attempt"] for run in ended] == [1] * _RUNS
    stack.assert_whole()
