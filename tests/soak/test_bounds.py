"""Runs and abandoned streams leave nothing behind: a small version of ``tests.soak.bounds``."""

from pathlib import Path

import pytest

from tests.runs.test_faults import fake_world
from tests.soak.bounds import NO_LIMITS, measure

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.fault(50)
async def test_runs_and_abandoned_streams_leave_nothing_behind(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with fake_world(
        tmp_path, postgres_url, broker_url, gpus=0, rate_limits=NO_LIMITS
    ) as world:
        found = await measure(world, runs=100, streams=200)
    assert found["problems"] == [], found
