"""Health and figures."""

from pathlib import Path

import pytest

from tests.live_api import live_api

pytestmark = pytest.mark.anyio


async def test_ready_when_the_database_answers(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        assert (await api.client.get("http://api/readyz")).json()["status"] == "ready"


async def test_figures_name_routes_not_paths(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        await api.client.get("experiments")
        text = (await api.client.get("http://api/metrics")).text
    assert 'route="/v1/workspaces/{workspace}/experiments"' in text
    assert api.workspace not in text
    assert 'trainwright_reconcile_lag_seconds{table="runs"}' in text
