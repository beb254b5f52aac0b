"""Metrics: kept once, summed up by the write, read in part, compared, exported."""

import csv
import io
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import arro3.io
import httpx2
import pytest
from sqlalchemy import update

from app.runs.states import Status
from app.tables.run import Run
from tests.live_api import LiveApi, live_api
from tests.logs.nodes import start_nodes
from tests.made_runs import make_runs

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


@pytest.fixture
async def run(api: LiveApi) -> str:
    (run,) = await make_runs(api, 1)
    return run


async def log(
    api: LiveApi, run: str, values: list[dict[str, Any]], *, source: str = "a", first_seq: int = 0
) -> None:
    for start in range(0, len(values), 1000):
        body = {
            "source": source,
            "first_seq": first_seq + start,
            "values": values[start : start + 1000],
        }
        answer = await api.client.post(f"runs/{run}/metrics", json=body)
        assert answer.status_code == 201, answer.text


def curve(name: str, values: list[float]) -> list[dict[str, Any]]:
    return [
        {"name": name, "value": value, "step": step, "time": 1000.0 + step}
        for step, value in enumerate(values)
    ]


async def summary(api: LiveApi, run: str, name: str) -> dict[str, Any]:
    answer = await api.client.get(f"runs/{run}/metrics/summary", params={"name": name})
    (found,) = answer.json()["items"]
    assert isinstance(found, dict)
    return found


async def test_a_batch_sent_again_is_neither_doubled_nor_counted_again(
    api: LiveApi, run: str
) -> None:
    for _ in range(3):
        await log(api, run, curve("loss", [3.0, 1.0, 2.0]))

    (metric,) = (await api.client.get(f"runs/{run}/metrics")).json()["items"]

    assert [point["value"] for point in metric["points"]] == [3.0, 1.0, 2.0]
    known = {key: metric[key] for key in ("count", "last", "last_step", "min", "min_step", "max")}
    assert known == {
        "count": 3, "last": 2.0, "last_step": 2, "min": 1.0, "min_step": 1, "max": 3.0,
    }  # fmt: skip


async def test_a_late_batch_does_not_become_the_last_value(api: LiveApi, run: str) -> None:
    await log(api, run, curve("loss", [5.0, 4.0, 3.0])[1:], first_seq=1)
    await log(api, run, curve("loss", [9.0]), first_seq=0)

    found = await summary(api, run, "loss")

    assert (found["last"], found["last_step"], found["max"], found["max_step"]) == (3.0, 2, 9.0, 0)


async def test_records_that_leave_some_out_are_told_which_comes_next(
    api: LiveApi, run: str
) -> None:
    (node,) = await start_nodes(api, run, 1)
    records = [{"kind": "metric", "name": "loss", "value": 1.0, "time": 1.0}]

    async def send(first_seq: int) -> httpx2.Response:
        body = {"first_seq": first_seq, "records": records}
        return await api.client.post("http://api/v1/node/records", json=body, headers=node.headers)

    assert (await send(0)).json() == {"next_seq": 1}
    refused = await send(3)
    assert (refused.status_code, refused.json()["code"]) == (409, "records_gap")
    assert (await send(refused.json()["expected"])).json() == {"next_seq": 2}


async def test_numbers_that_no_float_holds_are_infinite(api: LiveApi, run: str) -> None:
    await log(api, run, [{"name": "up", "value": 10**400}, {"name": "down", "value": -(10**400)}])

    assert (await summary(api, run, "up"))["last"] == "inf"
    assert (await summary(api, run, "down"))["last"] == "-inf"


async def test_all_kinds_of_values_come_back(api: LiveApi, run: str) -> None:
    matrix = {"class_labels": ["a", "b"], "matrix": [[5, 1], [0, 6]]}
    values = {
        "vector": [1, 2.5],
        "table": {"x": [1, 2], "y": [3, 4]},
        "row": {"x": 1},
        "string": "words",
        "image": "images/a.png",
        "confusion_matrix": matrix,
        "scalar": 0.5,
    }
    sent = [{"name": kind, "type": kind, "value": value} for kind, value in values.items()]
    old = {"schema_type": "confusion_matrix", "schema_version": "v1", "data": matrix}
    await log(api, run, [*sent, {"name": "v1", "type": "json", "value": old}])

    items = (await api.client.get(f"runs/{run}/metrics")).json()["items"]

    assert {item["name"]: item["last"] for item in items} == {**values, "v1": old}
    assert {item["name"]: item["type"] for item in items}["v1"] == "confusion_matrix"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("vector", ["a"]),
        ("vector", 1),
        ("confusion_matrix", {"class_labels": ["a"], "matrix": [[1, 2]]}),
        ("confusion_matrix", [[1]]),
    ],
)
async def test_a_value_that_is_not_of_its_type_is_refused_whole(
    api: LiveApi, run: str, kind: str, value: Any
) -> None:
    good = {"name": "good", "value": 1}
    body = {"source": "a", "first_seq": 0, "values": [good, {**good, "type": kind, "value": value}]}

    answer = await api.client.post(f"runs/{run}/metrics", json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/values/1"
    assert (await api.client.get(f"runs/{run}/metrics")).json()["items"] == []


async def test_no_number_is_last_but_not_the_smallest(api: LiveApi, run: str) -> None:
    await log(api, run, [{"name": "x", "value": 1.0}, {"name": "x", "value": "NaN"}])
    found = await summary(api, run, "x")
    assert (found["last"], found["min"], found["max"], found["count"]) == ("NaN", 1.0, 1.0, 2)


async def test_a_plot_gets_few_points_with_the_peak_and_both_ends(api: LiveApi, run: str) -> None:
    values = [math.sin(step / 300) for step in range(5000)]
    values[3210] = 50.0
    await log(api, run, curve("loss", values))

    answer = await api.client.get(f"runs/{run}/metrics", params={"max_points": 100})

    (metric,) = answer.json()["items"]
    steps = [point["step"] for point in metric["points"]]
    assert len(steps) == 100
    assert steps == sorted(steps)
    assert {0, 3210, 4999} <= set(steps)
    assert (metric["count"], metric["max_step"]) == (5000, 3210)


async def test_parts_by_step_and_by_time(api: LiveApi, run: str) -> None:
    await log(api, run, [*curve("loss", [0, 1, 2, 3, 4]), {"name": "free", "value": 1}])

    async def read(**given: Any) -> list[float]:
        answer = await api.client.get(f"runs/{run}/metrics", params={"name": "loss", **given})
        (metric,) = answer.json()["items"]
        return [point["value"] for point in metric["points"]]

    assert await read(first_step=1, last_step=3) == [1, 2, 3]
    assert await read(since="1970-01-01T00:16:43Z") == [3, 4]
    assert await read(until="1970-01-01T00:16:40Z") == [0]


async def test_what_cannot_be_logged_to_says_why(api: LiveApi, run: str) -> None:
    body = {"source": "a", "first_seq": 0, "values": [{"name": "loss", "value": 1}]}
    other = "http://api/v1/workspaces/" + "other-" + api.workspace
    await api.client.put(other)
    elsewhere = await api.client.post(f"{other}/runs/{run}/metrics", json=body)
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "run_not_found")
    nowhere = await api.client.post(f"{other}x/runs/{run}/metrics", json=body)
    assert nowhere.status_code == 404
    async with api.database.session() as session:
        await session.execute(update(Run).where(Run.id == run).values(status=Status.COMPLETED))
    late = await api.client.post(f"runs/{run}/metrics", json=body)
    assert (late.status_code, late.json()["code"]) == (409, "run_finished")
    assert (await api.client.get(f"runs/{run}/metrics")).json()["items"] == []


async def test_an_attempt_that_never_was_has_no_metrics(api: LiveApi, run: str) -> None:
    await start_nodes(api, run, 1, attempt=2)

    for place in ("metrics", "metrics/summary", "metrics/export", "metrics.png", "host.png"):
        answer = await api.client.get(f"runs/{run}/{place}", params={"attempt": 3})
        assert (answer.status_code, answer.json()["code"]) == (404, "attempt_not_found"), place
        assert "GET …/attempts" in answer.json()["detail"]
    for attempt in (1, 2):
        answer = await api.client.get(f"runs/{run}/metrics", params={"attempt": attempt})
        assert (answer.status_code, answer.json()["items"]) == (200, [])


async def test_runs_are_compared_in_one_call(api: LiveApi) -> None:
    first, second, third = await make_runs(api, 3)
    await log(api, first, [*curve("loss", [3, 2]), *curve("acc", [0, 1])])
    await log(api, second, curve("loss", [5, 4]))

    asked = {"run": [second, first, third], "name": "loss"}
    items = (await api.client.get("metrics/compare", params=asked)).json()["items"]

    assert [item["run_id"] for item in items] == [second, first, third]
    assert [[m["last"] for m in item["metrics"]] for item in items] == [[4], [2], []]
    assert [len(m["points"]) for m in items[0]["metrics"]] == [2]
    no_points = (await api.client.get("metrics/compare", params={**asked, "max_points": 0})).json()
    assert [m["points"] for m in no_points["items"][0]["metrics"]] == [[]]
    unknown = await api.client.get("metrics/compare", params={"run": [first, "run_none"]})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "run_not_found")


async def test_values_leave_as_csv_and_as_parquet(api: LiveApi, run: str, tmp_path: Path) -> None:
    values = [*curve("loss", [step / 7 for step in range(6000)])]
    await log(api, run, [*values, {"name": "note", "type": "string", "value": 'a "b", ü\n'}])

    text = (await api.client.get(f"runs/{run}/metrics/export")).text
    rows = list(csv.DictReader(io.StringIO(text)))

    assert len(rows) == 6001
    assert [float(row["value"]) for row in rows[:6000]] == [value["value"] for value in values]
    assert rows[-1]["data"] == '"a \\"b\\", ü\\n"'
    answer = await api.client.get(f"runs/{run}/metrics/export", params={"format": "parquet"})
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    file = tmp_path / "x.parquet"
    file.write_bytes(answer.content)
    table = arro3.io.read_parquet(file).read_all()
    assert table.num_rows == 6001
    assert table.column("step").to_pylist()[:6000] == list(range(6000))
    assert table.column("value").to_pylist()[-1] is None
    assert list(api.settings.data_dir.glob("export-*")) == []


async def test_runs_in_the_order_of_a_metric_page_by_page(api: LiveApi) -> None:
    runs = await make_runs(api, 6)
    for run, loss in zip(runs, [3.0, 1.0, 2.0, 2.0, 5.0], strict=False):
        await log(api, run, [{"name": "val loss", "value": loss}])

    async def listed(**given: Any) -> list[int]:
        found: list[int] = []
        token = ""
        while True:
            page = await api.client.get(
                "runs", params={"page_size": 2, "page_token": token, **given}
            )
            assert page.status_code == 200, page.text
            found += [runs.index(item["id"]) for item in page.json()["items"]]
            token = page.json()["next_page_token"]
            if not token:
                return found

    assert await listed(order_by="metrics.val loss") == [1, 2, 3, 0, 4]
    assert await listed(order_by="-metrics.val loss") == [4, 0, 3, 2, 1]
    assert await listed(order_by="metrics.val loss desc", metric="val loss<=2") == [3, 2, 1]
    assert await listed(metric=["val loss>1", "val loss!=5"]) == [3, 2, 0]
    assert await listed(order_by="metrics.other") == []


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"order_by": "loss"}, "bad_order"),
        ({"order_by": "metrics."}, "bad_order"),
        ({"metric": "loss"}, "bad_metric_condition"),
        ({"metric": "loss<much"}, "bad_metric_condition"),
        ({"metric": "loss<nan"}, "bad_metric_condition"),
        ({"metric": "loss==0.05"}, "bad_metric_condition"),
        ({"metric": "loss= =0.05"}, "bad_metric_condition"),
        ({"metric": "loss<<1"}, "bad_metric_condition"),
        ({"metric": "loss<>1"}, "bad_metric_condition"),
        ({"metric": "loss!!=1"}, "bad_metric_condition"),
    ],
)
async def test_an_order_or_condition_that_is_none_is_refused(
    api: LiveApi, given: dict[str, str], code: str
) -> None:
    answer = await api.client.get("runs", params=given)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)


async def test_an_answer_has_no_more_values_than_fit(
    api: LiveApi, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.metrics.service._MOST_VALUES", 2000)
    await log(api, run, curve("loss", [float(step % 7) for step in range(4500)]))

    refused = await api.client.get(f"runs/{run}/metrics")
    thin = await api.client.get(f"runs/{run}/metrics", params={"max_points": 500})
    part = await api.client.get(f"runs/{run}/metrics", params={"first_step": 4498})

    assert (refused.status_code, refused.json()["code"]) == (422, "too_many_values")
    assert len(thin.json()["items"][0]["points"]) == 500
    assert thin.json()["items"][0]["points"][-1]["step"] == 4499
    assert [point["step"] for point in part.json()["items"][0]["points"]] == [4498, 4499]


async def test_an_answer_has_no_more_metrics_than_fit(
    api: LiveApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.metrics.service._MOST_SUMMARIES", 5)
    runs = await make_runs(api, 2)
    for run in runs:
        await log(api, run, [{"name": name, "value": 1.0} for name in "abc"])

    async def compared(*runs: str, **asked: Any) -> httpx2.Response:
        return await api.client.get("metrics/compare", params={"run": runs, **asked})

    refused = [await compared(*runs, max_points=most) for most in (0, 10)]
    some = await compared(*runs, name=["a", "b"])

    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [
        (422, "too_many_values")
    ] * 2
    assert [len(item["metrics"]) for item in some.json()["items"]] == [2, 2]
    for place in ("metrics", "metrics/summary"):
        assert len((await api.client.get(f"runs/{runs[0]}/{place}")).json()["items"]) == 3


def table(step: int, *, characters: int) -> dict[str, Any]:
    return {"name": "table", "type": "table", "value": {"a": ["x" * characters]}, "step": step}


async def test_an_answer_has_no_larger_values_than_fit(
    api: LiveApi, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.metrics.service._MOST_BYTES", 50_000)
    await log(api, run, [table(step, characters=1000) for step in range(100)])

    refused = await api.client.get(f"runs/{run}/metrics")
    thin = await api.client.get(f"runs/{run}/metrics", params={"max_points": 10})
    assert (refused.status_code, refused.json()["code"]) == (422, "too_many_values")
    points = thin.json()["items"][0]["points"]
    assert len(points) == 10
    assert points[0]["value"] == {"a": ["x" * 1000]}

    many = [{**table(0, characters=1000), "name": f"table {number}"} for number in range(60)]
    await log(api, run, many, source="b")
    refused = await api.client.get(f"runs/{run}/metrics/summary")
    assert (refused.status_code, refused.json()["code"]) == (422, "too_many_values")
    assert (await summary(api, run, "table 7"))["last"] == {"a": ["x" * 1000]}


async def test_an_export_reads_large_values_in_portions(
    api: LiveApi, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.metrics.repository._BYTES_AT_ONCE", 2500)
    monkeypatch.setattr("app.metrics.export._GROUP_BYTES", 2500)
    logged = [table(step, characters=1000 + step) for step in range(9)]
    await log(api, run, [*curve("loss", [1.0, 2.0]), *logged])

    rows = list(
        csv.DictReader(io.StringIO((await api.client.get(f"runs/{run}/metrics/export")).text))
    )
    assert [json.loads(row["data"]) for row in rows[2:]] == [one["value"] for one in logged]
    answer = await api.client.get(f"runs/{run}/metrics/export", params={"format": "parquet"})
    file = tmp_path / "x.parquet"
    file.write_bytes(answer.content)
    parquet = arro3.io.read_parquet(file)
    found = parquet.read_all()
    assert [json.loads(text) for text in found.column("data").to_pylist()[2:]] == [
        one["value"] for one in logged
    ]


async def test_a_value_of_any_size_is_no_metric(api: LiveApi, run: str) -> None:
    body = {"source": "a", "first_seq": 0, "values": [table(0, characters=1024 * 1024)]}
    refused = await api.client.post(f"runs/{run}/metrics", json=body)
    assert refused.status_code == 422
    assert "1,048,576 characters" in refused.text
    # Two hundred classes fit.
    matrix = {"class_labels": list(range(200)), "matrix": [[1000] * 200] * 200}
    await log(api, run, [{"name": "c", "type": "confusion_matrix", "value": matrix}])
