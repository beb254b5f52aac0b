"""Trials with equal values: the first one is the best, however they are asked for."""

from pathlib import Path

import pytest

from tests.sweeps.searching import searching
from tests.sweeps.test_plots import finished

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("order", "numbers"), [("-value", [1, 2, 4, 0, 3]), ("value", [0, 3, 1, 2, 4])]
)
async def test_of_equals_the_first_comes_first_on_every_page(
    tmp_path: Path, postgres_url: str, broker_url: str, order: str, numbers: list[int]
) -> None:
    async with searching(tmp_path, postgres_url, broker_url) as world:
        sweep_id = await finished(world, [0.5, 1.0, 1.0, 0.5, 1.0])
        found: list[int] = []
        token = ""
        while not found or token:
            params: dict[str, str | int] = {"order_by": order, "page_size": 2, "page_token": token}
            answer = await world.api.client.get(f"sweeps/{sweep_id}/trials", params=params)
            assert answer.status_code == 200, answer.text
            found += [trial["number"] for trial in answer.json()["items"]]
            token = answer.json()["next_page_token"]
        assert found == numbers
        best = (await world.api.client.get(f"sweeps/{sweep_id}/best")).json()
        assert best["number"] == 1
