"""Plots of sweeps: their data, and that they can be drawn."""

import re
import struct
import sys
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter

from app.kernel.ids import new_id
from app.sweeps import plots
from app.sweeps.distributions import Distribution, value_at
from app.sweeps.importance_process import FEWEST_TRIALS
from app.tables.sweep import Sweep, Trial
from tests.sweeps.searching import Searching, searching

pytestmark = pytest.mark.anyio

SPACE = {
    "lr": {"type": "loguniform", "min": -6, "max": -1},
    "kind": {"type": "choice", "values": ["a", "b"]},
    "width": {"type": "normal", "mu": 0, "sigma": 1, "when": {"kind": ["a"]}},
}


async def finished(
    world: Searching, values: list[float | None], *, failed: Collection[int] = ()
) -> str:
    """A sweep that is over, with these values."""
    sweep_id = await world.create(search_space=SPACE, limits={"max_trials": 1})
    other = new_id("sweep")
    async with world.api.database.session() as session:
        made = await session.get_one(Sweep, sweep_id)
        columns = {
            name: getattr(made, name)
            for name in ("workspace_id", "experiment_id", "created_by", "spec", "seed")
        }
        session.add(Sweep(id=other, status="Completed", next_check_at=None, **columns))
        await session.flush()
        for number, value in enumerate(values):
            parameters: dict[str, Any] = {"lr": 0.003 * (number + 1), "kind": "ab"[number % 2]}
            if number % 2 == 0:
                parameters["width"] = number / 10
            session.add(
                Trial(
                    sweep_id=other,
                    number=number,
                    parameters=parameters,
                    outcome="Failed" if number in failed else "Completed",
                    value=value,
                )
            )
    return other


async def test_plots_as_data_and_as_pictures(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with searching(tmp_path, postgres_url, broker_url) as world:
        sweep_id = await finished(world, [0.2, 0.5, None, 0.4, 0.9, 0.6])

        async def plot(name: str) -> dict[str, Any]:
            answer = await world.api.client.get(f"sweeps/{sweep_id}/plots/{name}")
            assert answer.status_code == 200, answer.text
            return dict(answer.json())

        progress = await plot("progress")
        assert [(one["trial"], one["best_value"]) for one in progress["points"]] == [
            (0, 0.2), (1, 0.5), (3, 0.5), (4, 0.9), (5, 0.9),
        ]  # fmt: skip
        across = await plot("parallel-coordinates")
        assert across["parameters"] == ["kind", "lr", "width"]
        assert across["trials"][1] == {
            "trial": 1, "run_id": None, "parameters": {"lr": 0.006, "kind": "b"}, "value": 0.5,
        }  # fmt: skip
        importance = await plot("importance")
        assert importance["trials_count"] == 5
        assert set(importance["importances"]) == {"lr", "kind"}  # what all trials have
        assert importance["left_out"] == ["width"]
        assert sum(importance["importances"].values()) == pytest.approx(1)
        for name in ("progress", "parallel-coordinates", "importance"):
            png = await world.api.client.get(
                f"sweeps/{sweep_id}/plots/{name}.png", params={"width": 640}
            )
            assert png.status_code == 200, png.text
            assert png.headers["content-type"] == "image/png"
            assert struct.unpack(">I", png.content[16:20]) == (640,)


@pytest.mark.parametrize("values", [[sys.float_info.max] * 2, [1e308, -1e308, 0.5]])
async def test_values_that_no_axis_holds_can_be_drawn(
    tmp_path: Path, postgres_url: str, broker_url: str, values: list[float | None]
) -> None:
    async with searching(tmp_path, postgres_url, broker_url) as world:
        sweep_id = await finished(world, values)
        for name in ("progress", "parallel-coordinates"):
            png = await world.api.client.get(f"sweeps/{sweep_id}/plots/{name}.png")
            assert png.status_code == 200, png.text


async def test_plots_of_too_little_say_so(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with searching(tmp_path, postgres_url, broker_url) as world:
        sweep_id = await finished(world, [0.2, None])
        for name in ("importance", "importance.png"):
            answer = await world.api.client.get(f"sweeps/{sweep_id}/plots/{name}")
            assert (answer.status_code, answer.json()["code"]) == (404, "nothing_to_compare")
            said = f"Only 1 trial has logged 'acc'; this plot needs {FEWEST_TRIALS}."
            assert answer.json()["detail"] == said
        assert (await world.api.client.get(f"sweeps/{sweep_id}/plots/progress")).is_success


@pytest.mark.parametrize(
    ("document", "texts"),
    [
        ({"type": "randint", "upper": 4}, ["0", "1", "2", "3"]),
        ({"type": "randint", "upper": 1}, ["0"]),
        ({"type": "randint", "upper": 100_000}, ["0", "25000", "50000", "75000", "99999"]),
        ({"type": "quniform", "min": 0, "max": 3, "q": 1}, ["0", "1", "2", "3"]),
        ({"type": "uniform", "min": 0, "max": 1}, ["0", "0.25", "0.5", "0.75", "1"]),
        ({"type": "choice", "values": ["a name of 16 (1)", "a name of 16 (2)", True, 0.00012345]},
         ["a name … (1)", "a name … (2)", "True", "0.00012345"]),
    ],
)  # fmt: skip
def test_values_are_named_where_the_trials_that_have_them_are(
    document: dict[str, Any], texts: list[str]
) -> None:
    distribution: Distribution = TypeAdapter(Distribution).validate_python(document)
    drawn = [value_at(distribution, place / 100) for place in range(100)]
    trials = [
        SimpleNamespace(number=number, run_id=None, parameters={"depth": value}, value=0.5)
        for number, value in enumerate(drawn)
    ]
    space = {"depth": distribution}

    picture = plots.parallel_picture(plots.parallel("loss", "minimize", space, trials), space)

    ticks = picture["axes"][0]["ticks"]
    assert [text for _, text in ticks] == texts
    named = {text: place for place, text in ticks}
    for value, line in zip(drawn, picture["lines"], strict=True):
        if str(value) in named:
            assert line[0] == pytest.approx(named[str(value)], abs=1e-6)


async def test_trials_that_failed_are_marked(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with searching(tmp_path, postgres_url, broker_url) as world:
        marked = await finished(world, [0.2, 0.9, None, 0.5], failed=[1, 2])
        plain = await finished(world, [0.2, 0.9, None, 0.5])
        for sweep_id, labels in ((marked, {"trial", "best", "failed"}), (plain, {"trial", "best"})):
            picture = await world.api.client.get(f"sweeps/{sweep_id}/plots/progress.svg")
            found = set(re.findall("<!-- (trial|best|failed) -->", picture.text))
            assert found == labels
        panel = plots.progress_panel(
            plots.progress("loss", "maximize", [trial(0, 0.2), trial(1, 0.9), trial(3, 1e300)]),
            [1, 2, 3],
        )
        assert [(line["x"], line["y"]) for line in panel["lines"] if "is_crosses" in line] == [
            ([1, 3], [0.9, None])
        ]


def trial(number: int, value: float) -> SimpleNamespace:
    return SimpleNamespace(number=number, run_id=None, value=value)


async def test_nothing_shines_through_what_values_are_called(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with searching(tmp_path, postgres_url, broker_url) as world:
        sweep_id = await finished(world, [0.2, 0.5])
        path = f"sweeps/{sweep_id}/plots/parallel-coordinates.svg"
        picture = (await world.api.client.get(path)).text
        assert "fill: #ffffff; opacity" not in picture
