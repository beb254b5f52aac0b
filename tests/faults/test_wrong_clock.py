"""Machines whose clocks are wrong: what several compare goes by the clock of the database."""

import re
from datetime import UTC, datetime
from pathlib import Path

import psycopg
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
_TAKEN, _NOT_TAKEN = 7, 8
_TAKES_IT = f"""
import asyncio, sys
import app.tables.registry
from app.kernel import leases
from app.kernel.broker import BrokerHints
from app.kernel.config import get_settings
from app.kernel.db import Database
from app.kernel.signals import Signals
from app.tables.run import Run

async def main():
    settings = get_settings()
    database = Database(settings, BrokerHints(settings, Signals()))
    async with database.session() as session:
        lease = await leases.acquire(session, Run.__table__, row_id=sys.argv[1], seconds=1)
    await database.close()
    sys.exit({_NOT_TAKEN} if lease is None else {_TAKEN})

asyncio.run(main())
"""
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


@pytest.mark.fault(12)
def test_a_lease_is_taken_when_the_database_says_so(stack: SmallStack, library: Path) -> None:
    run_id = submit(stack, SCRIPT.format(0))
    end(stack, run_id)
    stack.assert_whole()
    url = stack.database_url.replace("postgresql+psycopg", "postgresql")
    held = (
        "UPDATE runs SET lease_token = 'another', next_check_at = NULL,"
        " lease_expires_at = clock_timestamp() + make_interval(secs => %s) WHERE id = %s"
    )
    taken = {}
    with psycopg.connect(url, autocommit=True) as connection:
        for left_seconds in (300, -1):
            for off_seconds in (3600, -3600):
                connection.execute(held, (left_seconds, run_id))
                clock = clocks.wrong_by(off_seconds, library)
                taken[left_seconds, off_seconds] = stack.python(_TAKES_IT, run_id, **clock)
        connection.execute("UPDATE runs SET lease_token = NULL WHERE id = %s", (run_id,))

    free, not_free = _TAKEN, _NOT_TAKEN
    assert taken == {
        (300, 3600): not_free, (300, -3600): not_free, (-1, 3600): free, (-1, -3600): free,
    }  # fmt: skip
