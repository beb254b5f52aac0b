"""Pictures of curves, of what nodes used, and of phases, through HTTP."""

import asyncio
import re
import struct
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx2
import pytest

from app.metrics.schemas import MetricPoint, MetricRead
from app.pictures import curves, timeline, usage
from app.pictures.spec import Panel
from app.tables.run import Run, RunEvent
from tests.live_api import LiveApi, live_api
from tests.made_runs import make_runs

pytestmark = pytest.mark.anyio
START = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


async def log(api: LiveApi, run_id: str, *values: dict[str, Any]) -> None:
    body = {"source": "test", "first_seq": 0, "values": list(values)}
    answer = await api.client.post(f"runs/{run_id}/metrics", json=body)
    assert answer.status_code == 201, answer.text


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


async def drawn(api: LiveApi, path: str, **params: Any) -> httpx2.Response:
    answer = await api.client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    assert "sandbox" in answer.headers["content-security-policy"]
    return answer


async def test_pictures_have_the_size_and_the_format_that_were_asked_for(api: LiveApi) -> None:
    first, second = await make_runs(api, 2)
    await api.client.patch(f"runs/{first}", json={"display_name": "plain $x^ <b>&\n\x07 日本"})
    values = [{"name": "loss $\\frac{", "value": 1 / step, "step": step} for step in range(1, 200)]
    await log(api, first, *values, {"name": "note", "type": "string", "value": "x"})
    await log(api, second, *values)
    png, svg, both, phases = await asyncio.gather(
        drawn(api, f"runs/{first}/metrics.png", width=640, height=300),
        drawn(api, f"runs/{first}/metrics.svg", log="both"),
        drawn(api, "metrics/compare.png", run=[first, second], log="y"),
        drawn(api, f"runs/{first}/timeline.svg"),
    )
    assert size(png.content) == (640, 300)
    assert size(both.content)[0] == 900
    assert ET.fromstring(svg.content).tag.endswith("svg")  # noqa: S314
    assert svg.headers["content-type"] == phases.headers["content-type"] == "image/svg+xml"
    # The same picture is not drawn and sent again.
    held = {"If-None-Match": png.headers["etag"]}
    again = await api.client.get(
        f"runs/{first}/metrics.png", params={"width": 640, "height": 300}, headers=held
    )
    assert (again.status_code, again.content) == (304, b"")


async def test_notes_of_phases_stand_in_no_other_bar(api: LiveApi) -> None:
    (run,) = await make_runs(api, 1)
    async with api.database.session() as session:
        for event_ in (
            event(11, "Running", 1), event(12, "NotResponding", 11), event(13, "Running", 11.5),
            event(14, "Completed", 40),
        ):  # fmt: skip
            event_.run_id, event_.actor = run, "worker"
            event_.created_at += datetime.now(UTC) - START
            session.add(event_)

    picture = (await drawn(api, f"runs/{run}/timeline.svg")).text

    # White, in its own bar: behind that one there is another.
    assert re.search(r'<!-- 10 s -->\s*<g style="fill: #ffffff"', picture)


async def test_what_cannot_be_drawn_is_refused(api: LiveApi) -> None:
    (run,) = await make_runs(api, 1)
    await log(api, run, {"name": "note", "type": "string", "value": "x"})
    for path in (
        f"runs/{run}/metrics.png",
        f"runs/{run}/host.png",
        f"metrics/compare.svg?run={run}",
    ):
        answer = await api.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "nothing_to_plot"), path
    refused = ["width=1", "width=99999", "height=x", "log=z", "x=y", "first_step=x"]
    for query in refused:
        assert (await api.client.get(f"runs/{run}/metrics.png?{query}")).status_code == 422, query
    assert (await api.client.get(f"runs/{run}/metrics.gif")).status_code in (404, 422)
    missing = await api.client.get("metrics/compare.png?run=run_none")
    assert (missing.status_code, missing.json()["code"]) == (404, "run_not_found")
    many = "&".join(f"run={n}" for n in range(21))
    assert (await api.client.get(f"metrics/compare.png?{many}")).status_code == 422


async def test_of_a_run_that_is_over_nothing_is_expected_any_more(api: LiveApi) -> None:
    (run,) = await make_runs(api, 1)
    said = []
    for status in ("Running", "Completed"):
        async with api.database.session() as session:
            (await session.get_one(Run, run)).status = status
        said.append((await api.client.get(f"runs/{run}/host.png")).json()["detail"])
    end = "; nodes measure while the scripts run."
    assert said == [f"Nothing was measured yet{end}", f"Nothing was measured{end}"]


async def test_why_a_metric_is_not_drawn_is_said(api: LiveApi) -> None:
    (run,) = await make_runs(api, 1)
    values: list[dict[str, Any]] = [
        {"name": "huge", "value": 1e308},
        {"name": "loss", "value": 0.5},
        {"name": "lost", "value": "nan"},
        {"name": "note", "type": "string", "value": "x"},
    ]
    await log(api, run, *values)
    large, unknown = "too large to draw (beyond ±1e+150): 'huge'", "no metric named 'nope'"
    expected = {
        "name=huge": large,
        "name=nope": unknown,
        "name=lost": "no finite number: 'lost'",
        "name=note": "no number: 'note'",
        "name=loss&first_step=0": "no value of these steps and times: 'loss'",
        "name=huge&name=nope": f"{large}; {unknown}",
    }
    for picture in (f"runs/{run}/metrics.png?", f"metrics/compare.png?run={run}&"):
        for query, reason in expected.items():
            answer = await api.client.get(picture + query)
            assert answer.status_code == 404, query
            found = answer.json()["detail"].split(": ", maxsplit=1)[1]
            assert found == f"{reason}. GET …/metrics/summary has what there is.", query
    # Beside what is drawn, it stands below.
    below = re.findall("<!-- (.*) -->", (await drawn(api, f"runs/{run}/metrics.svg")).text)
    assert f"{large}; no finite number: 'lost'" in below
    asked = {"name": ["loss", "nope", "note"]}
    picture = (await drawn(api, f"runs/{run}/metrics.svg", **asked)).text
    assert f"{unknown}; no number: 'note'" in picture


async def test_an_axis_that_no_value_has_is_said(api: LiveApi) -> None:
    (run,) = await make_runs(api, 1)
    await log(api, run, {"name": "loss", "value": 1})
    for path in (f"runs/{run}/metrics.png?x=", f"metrics/compare.png?run={run}&x="):
        for along, missing in (("epoch", "an epoch"), ("step", "a step")):
            answer = await api.client.get(path + along)
            assert (answer.status_code, answer.json()["code"]) == (404, "nothing_to_plot")
            assert f"no value has {missing}: 'loss'." in answer.json()["detail"]
        assert (await api.client.get(path + "time")).is_success


def metric(
    name: str,
    values: list[Any],
    *,
    steps: bool = True,
    epochs: bool = False,
    kind: str = "scalar",
) -> MetricRead:
    points = [
        MetricPoint(
            value=value,
            step=number if steps else None,
            epoch=number if epochs else None,
            logged_at=START + timedelta(seconds=number),
        )
        for number, value in enumerate(values)
    ]
    largest = max((v for v in values if isinstance(v, int | float)), default=None)
    return MetricRead(
        name=name, type=kind, count=len(points), last=values[-1], last_at=START, max=largest,
        points=points,
    )  # fmt: skip


def lines(panel: Panel) -> dict[str, list[float | None]]:
    return {line["label"]: line["y"] for line in panel["lines"]}


def test_training_and_validation_share_a_panel() -> None:
    found = [metric(name, [1, 2]) for name in ("loss", "val_loss", "val_", "acc", "text")]
    found[-1] = metric("text", ["a"], kind="string")
    panels, left_out = curves.of_run(curves.Curves("run", None, found), along="auto", log="y")
    assert [panel["title"] for panel in panels] == ["loss", "val_", "acc"]
    assert lines(panels[0]) == {"loss": [1, 2], "val_loss": [1, 2]}
    assert (panels[0]["x_label"], panels[0]["log_y"], left_out) == ("step", True, "")


@pytest.mark.parametrize(
    ("names", "panels_of"),
    [
        (["validation_acc"], {"validation_acc": ["validation_acc"]}),
        (["training_acc", "validation_acc"], {"acc": ["training_acc", "validation_acc"]}),
        (["acc", "train_acc", "val_acc"], {"acc": ["acc", "train_acc", "val_acc"]}),
        (
            ["training_seconds", "val_loss"],
            {"training_seconds": ["training_seconds"], "val_loss": ["val_loss"]},
        ),
    ],
)
def test_a_panel_is_called_after_its_only_curve(
    names: list[str], panels_of: dict[str, list[str]]
) -> None:
    run = curves.Curves("run", None, [metric(name, [1, 2]) for name in names])
    panels, _ = curves.of_run(run, along="auto", log="none")
    assert {panel["title"]: list(lines(panel)) for panel in panels} == panels_of


def test_values_without_steps_stand_along_time_and_gaps_stay() -> None:
    run = curves.Curves(
        "run", START - timedelta(seconds=60), [metric("a", [1, "NaN", 3, 1e300], steps=False)]
    )
    (panel,), _ = curves.of_run(run, along="auto", log="none")
    (line,) = panel["lines"]
    assert (panel["x_label"], line["x"], line["y"]) == (
        "", [60, 61, 62, 63], [1, None, 3, None],
    )  # fmt: skip


def test_curves_without_a_place_along_x_have_no_panel() -> None:
    with_epochs = [metric("acc", [1, "nan"], epochs=True), metric("nan", ["nan"], epochs=True)]
    run = curves.Curves("run", None, [*with_epochs, metric("loss", [1, 2]), metric("val_acc", [1])])
    panels, left_out = curves.of_run(run, along="epoch", log="none")
    assert [lines(panel) for panel in panels] == [{"acc": [1, None]}]
    assert left_out == "no finite number: 'nan'; no value has an epoch: 'loss', 'val_acc'"
    panels, _ = curves.of_runs([run, run], along="epoch", log="none")
    assert [panel["title"] for panel in panels] == ["acc"]


def test_of_many_metrics_that_are_not_drawn_some_are_named() -> None:
    many = [metric(f"huge{number}", [1e300]) for number in range(8)]
    run = curves.Curves("run", None, [metric("loss", [1, 2]), *many])
    _, left_out = curves.of_run(run, along="auto", log="none")
    assert left_out.endswith("'huge3', 'huge4' and 3 more")


def test_what_does_not_fit_is_said() -> None:
    run = curves.Curves("run", None, [metric(f"m{n:02}", [1]) for n in range(30)])
    panels, left_out = curves.of_run(run, along="auto", log="none")
    assert len(panels) == curves.MOST_PANELS
    assert left_out.startswith("12 of 30 metrics")
    panels, left_out = curves.of_runs([run, run], along="auto", log="none")
    assert [line["colour"] for line in panels[0]["lines"]] == [0, 1]


def test_nodes_have_colours_and_bytes_have_units() -> None:
    found = [
        metric("node0.memory_bytes", [2**30, 2**31]),
        metric("node1.memory_bytes", [2**30]),
        metric("node0.cpu_percent", [150]),
        metric("node1.gpu0.utilization_percent", [50]),
        metric("node0.network_sent_bytes_per_second", [2048]),
        metric("node0.something_new", [1]),
    ]
    panels, _ = usage.of_nodes(found, START)
    shown = {panel["title"]: (panel["y_label"], lines(panel)) for panel in panels}
    assert shown == {
        "Processor": ("cores", {"node 0": [1.5]}),
        "Memory": ("GiB", {"node 0": [1, 2], "node 1": [1]}),
        "GPU": ("%", {"node 1 gpu0": [50]}),
        "Network: received (solid), sent (dashed)": ("KiB/s", {"node 0": [2]}),
    }


def event(number: int, status: str, seconds: float, kind: str = "state_changed") -> RunEvent:
    data = {"attempt": number} if kind == "attempt_started" else {}
    moment = START + timedelta(seconds=seconds)
    return RunEvent(seq=number, type=kind, status=status, data=data, created_at=moment)


def test_phases_are_bars_and_later_attempts_are_marked() -> None:
    events = [
        event(1, "NotStarted", 0, "submitted"),
        event(2, "Starting", 1),
        event(3, "Queued", 5),
        event(4, "Running", 65),
        event(5, "NotResponding", 100),
        event(2, "Running", 130, "attempt_started"),
        event(7, "Running", 140),
    ]
    found = timeline.of_events(events, START + timedelta(seconds=3740))
    assert found["rows"] == ["Starting", "Queued", "Running", "NotResponding"]
    notes = [(span["row"], span["note"]) for span in found["spans"]]
    assert notes == [
        ("Starting", "4.0 s"), ("Queued", "1 min 0 s"), ("Running", "35 s"),
        ("NotResponding", "40 s"), ("Running", "1 h 0 min, going on"),
    ]  # fmt: skip
    assert found["marks"] == [{"at": 130.0, "label": "attempt 2"}]
