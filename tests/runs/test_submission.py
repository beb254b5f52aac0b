"""Submitting runs: what is wrong is said, with its place, and changes nothing."""

import asyncio
import io
import json
import math
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.tables.run import Run
from app.tables.tracking import RunParam
from tests.live_api import LiveApi, live_api
from tests.models.test_lineage import make_dataset

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


def packed(**files: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return target.getvalue()


@pytest.fixture
async def request_body(api: LiveApi) -> dict[str, Any]:
    """A run request that is accepted."""
    return await make_request(api)


async def make_request(api: LiveApi) -> dict[str, Any]:
    made = await api.client.put("clusters/cpu", json={"vm_size": "small"})
    assert made.status_code == 201, made.text
    snapshot = await api.client.put("snapshots", content=packed(train__py="print(1)"))
    return {
        "experiment_name": "first",
        "snapshot_id": snapshot.json()["id"],
        "cluster_name": "cpu",
        "entry_script": "train.py",
    }


async def test_a_run_is_accepted_at_once(api: LiveApi, request_body: dict[str, Any]) -> None:
    answer = await api.client.post("runs", json=request_body)
    run = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"].endswith(f"/runs/{run['id']}")
    assert run["status"] == "Starting"
    events = (await api.client.get(f"runs/{run['id']}/events")).json()["items"]
    assert [event["seq"] for event in events] == [1, 2]
    listed = (await api.client.get("runs", params={"experiment_name": "first"})).json()
    assert [item["id"] for item in listed["items"]] == [run["id"]]


async def test_a_run_is_shown_alike_wherever_it_is_shown(
    api: LiveApi, request_body: dict[str, Any]
) -> None:
    made = await api.client.post("runs", json={**request_body, "tags": {"ünï": "✓"}})
    run_id = made.json()["id"]
    waiting = {"code": "no_room", "object": "c", "since": "2026-01-01T00:00:00Z", "position": 3}
    async with api.database.session() as session:
        run = await session.get_one(Run, run_id)
        run.blockers = [{**waiting, "clears_when": "a node is free"}]
        run.error = {"code": "failed", "message": "no", "silent": None, "more": [1]}
        inputs = {"data": {"dataset": "d", "version": 2, "mode": "mount", "path": "/x"}}
        run.request = {**run.request, "inputs": inputs, "argv": ["hidden"]}
        session.add(RunParam(run_id=run_id, key="lr", value="0.1", attempt=0))
    changed = await api.client.patch(f"runs/{run_id}", json={"display_name": "a"})
    one = await api.client.get(f"runs/{run_id}")
    (listed,) = (await api.client.get("runs", params={"experiment_name": "first"})).json()["items"]
    assert one.json() == changed.json() == listed
    assert one.headers["etag"].split(".")[0] == changed.headers["etag"].split(".")[0]
    assert (listed["queue_position"], listed["params"]) == (3, {"lr": "0.1"})
    assert list(listed) == list(made.json())


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"entry_script": "missing.py"}, "/entry_script"),
        ({"cluster_name": "nowhere"}, "/cluster_name"),
        ({"snapshot_id": "snap_nothing"}, "/snapshot_id"),
        ({"environment_name": "nowhere"}, "/environment_name"),
        ({"entry_script": None}, "/"),
        ({"command": "python train.py"}, "/"),
        ({"script_params": {"--data": {"dataset": "none"}}}, "/script_params/--data"),
        ({"inputs": {"x": {"dataset": "none", "version": 3}}}, "/inputs/x"),
        ({"inputs": {"bad name": {"dataset": "none"}}}, "/inputs/bad name"),
        ({"process_count_per_node": 2}, "/process_count_per_node"),
        ({"distribution": {"type": "mpi", "process_count_per_node": 2},
          "process_count_per_node": 3}, "/distribution"),
        ({"node_count": 3, "distribution": {"type": "parameter_server"}}, "/distribution"),
        ({"node_count": 0}, "/node_count"),
        ({"node_count": "2"}, "/node_count"),
        ({"node_count": True}, "/node_count"),
        ({"max_attempts": "2"}, "/max_attempts"),
        ({"distribution": {"type": "pytorch", "process_count": "2"}},
         "/distribution/process_count"),
        ({"secrets": {"KEY": {"secret": "key", "version": "1"}}}, "/secrets/KEY/version"),
        ({"max_run_duration_seconds": 0}, "/max_run_duration_seconds"),
        ({"environment": {"framework": "tensorflow", "framework_version": "1.2"}},
         "/environment/framework_version"),
        ({"environment": {"pip_packages": ["--index-url http://evil"]}},
         "/environment/pip_packages/0"),
        ({"environment": {"python_version": "2.7"}}, "/environment/python_version"),
        ({"environment_variables": {"A=B": "x"}}, "/environment_variables/A=B"),
        ({"colour": "blue"}, "/colour"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named_and_nothing_is_written(
    api: LiveApi, request_body: dict[str, Any], change: dict[str, Any], pointer: str
) -> None:
    answer = await api.client.post("runs", json={**request_body, **change})
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    pointers = [field["pointer"] for field in problem["errors"]]
    assert any(found.startswith(pointer) for found in pointers), pointers
    assert (await api.client.get("runs")).json()["items"] == []
    assert (await api.client.get("experiments")).json()["items"] == []


@pytest.mark.parametrize(
    ("command", "pointer", "said"),
    [
        ("python train.py ${{inputs.nope}}", "/command", "it has data."),
        ("python train.py ${{ inputs.nope }}", "/command", "${{ inputs.nope }}"),
        ("python train.py > ${{outputs.x}}", "/command", "./outputs"),
        ("python train.py ${{search_space.r}}", "/command", "sweep"),
        (["python", "train.py", "--data=${{inputs.nope}}"], "/command/2", "inputs.nope"),
    ],
)
async def test_a_command_that_names_what_the_run_has_not_is_refused(
    api: LiveApi, request_body: dict[str, Any], command: str | list[str], pointer: str, said: str
) -> None:
    await make_dataset(api)
    request_body |= {"entry_script": None, "inputs": {"data": {"dataset": "digits"}}}
    answer = await api.client.post("runs", json={**request_body, "command": command})
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == (pointer, "unknown_placeholder")
    assert said in error["message"]
    assert (await api.client.get("runs")).json()["items"] == []


async def test_a_command_names_its_inputs_and_those_of_its_arguments(
    api: LiveApi, request_body: dict[str, Any]
) -> None:
    await make_dataset(api)
    body = request_body | {
        "entry_script": None,
        "command": "cat ${{ inputs.data }} ${{inputs.more}} '${{ github.sha }}' ${inputs}",
        "inputs": {"data": {"dataset": "digits"}},
        "arguments": [{"dataset": "digits", "name": "more"}],
    }
    made = await api.client.post("runs", json=body)
    assert made.status_code == 201, made.text


DIGITS = {"dataset": "digits"}


@pytest.mark.parametrize(
    ("value", "below", "code"),
    [
        (DIGITS | {"mode": "upload"}, "/mode", "literal_error"),
        (DIGITS | {"version": "two"}, "/version", "version_type"),
        (DIGITS | {"version": "2"}, "/version", "version_type"),
        (DIGITS | {"version": True}, "/version", "version_type"),
        (DIGITS | {"name": "a-b"}, "/name", "string_pattern_mismatch"),
        (DIGITS | {"colour": "blue"}, "/colour", "extra_forbidden"),
        ({}, "/dataset", "missing"),
        ([DIGITS], "", "value_type"),
        (math.nan, "", "finite_number"),
        (-math.inf, "", "finite_number"),
    ],
)
async def test_a_value_is_judged_as_what_it_is(
    api: LiveApi, request_body: dict[str, Any], value: Any, below: str, code: str
) -> None:
    for change, pointer in (
        ({"script_params": {"--a": value}}, "/script_params/--a"),
        ({"arguments": ["x", value]}, "/arguments/1"),
    ):
        content = json.dumps({**request_body, **change})
        headers = {"Content-Type": "application/json"}
        answer = await api.client.post("runs", content=content, headers=headers)
        assert answer.status_code == 422, answer.text
        found = [(one["pointer"], one["code"]) for one in answer.json()["errors"]]
        assert found == [(pointer + below, code)]
    assert (await api.client.get("runs")).json()["items"] == []


async def test_values_that_are_no_datasets_stay_as_they_are(
    api: LiveApi, request_body: dict[str, Any]
) -> None:
    given = {"--a": "1", "--b": 1, "--c": 1.5, "--d": True, "--e": None}
    body = request_body | {"script_params": given, "arguments": ["1", 1, 1.5]}
    made = await api.client.post("runs", json=body)
    assert made.status_code == 201, made.text
    asked = made.json()["request"]
    assert (asked["script_params"], asked["arguments"]) == (given, ["1", 1, 1.5])


async def test_an_argument_without_a_name_takes_one_that_is_free(
    api: LiveApi, request_body: dict[str, Any]
) -> None:
    await make_dataset(api)
    body = {
        **request_body,
        "inputs": {"input_1": {"dataset": "digits", "mode": "download"}},
        "arguments": [{"dataset": "digits"}, {"dataset": "digits", "mode": "download"}],
    }
    made = await api.client.post("runs", json=body)
    assert made.status_code == 201, made.text
    async with api.database.session() as session:
        run = await session.get_one(Run, made.json()["id"])
        modes = {name: found["mode"] for name, found in run.request["inputs"].items()}
    assert modes == {"input_1": "download", "input_2": "mount", "input_3": "download"}


async def test_an_idempotency_key_makes_one_run_of_many_requests(
    api: LiveApi, request_body: dict[str, Any]
) -> None:
    headers = {"Idempotency-Key": f"once-{api.workspace}"}

    async def submit() -> tuple[int, str]:
        answer = await api.client.post("runs", json=request_body, headers=headers)
        return answer.status_code, str(answer.json().get("id"))

    answers = await asyncio.gather(*(submit() for _ in range(10)))
    assert {status for status, _ in answers} == {201}
    assert len({run_id for _, run_id in answers}) == 1
    assert len((await api.client.get("runs")).json()["items"]) == 1
    other = await api.client.post(
        "runs", json={**request_body, "display_name": "other"}, headers=headers
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_idempotency_keys_are_forgotten_after_their_time(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with live_api(tmp_path, postgres_url, broker_url, idempotency_keep_days=0) as api:
        body = await make_request(api)
        answers = [
            await api.client.post(
                "runs",
                json={**body, "display_name": f"{number}"},
                headers={"Idempotency-Key": "old" if number in (0, 9) else f"key-{number}"},
            )
            for number in range(10)
        ]
    assert [answer.status_code for answer in answers] == [201] * 10


async def test_tags_change_and_properties_do_not(
    api: LiveApi, request_body: dict[str, Any]
) -> None:
    run = (await api.client.post("runs", json=request_body)).json()
    path = f"runs/{run['id']}"
    changed = await api.client.patch(path, json={"tags": {"a": "1"}, "properties": {"p": "x"}})
    assert changed.json()["tags"] == {"a": "1"}
    removed = await api.client.patch(path, json={"tags": {"a": None}})
    assert removed.json()["tags"] == {}
    refused = await api.client.patch(path, json={"properties": {"p": "y"}})
    assert (refused.status_code, refused.json()["code"]) == (409, "property_immutable")
    again = await api.client.patch(path, json={"properties": {"p": "x", "q": "z"}})
    assert again.json()["properties"] == {"p": "x", "q": "z"}


@pytest.mark.fault(52)
async def test_a_write_with_an_old_etag_is_refused(
    api: LiveApi, request_body: dict[str, Any]
) -> None:
    run = await api.client.post("runs", json=request_body)
    path, etag = f"runs/{run.json()['id']}", run.headers["etag"]
    body = {"display_name": "mine"}
    first = await api.client.patch(path, json=body, headers={"If-Match": etag})
    second = await api.client.patch(path, json=body, headers={"If-Match": etag})
    assert (first.status_code, second.status_code) == (200, 412)


async def test_files_are_uploaded_once_and_never_change(
    api: LiveApi, request_body: dict[str, Any]
) -> None:
    run = (await api.client.post("runs", json=request_body)).json()
    path = f"runs/{run['id']}/files/outputs/a.bin"
    assert (await api.client.put(path, content=b"0123456789")).status_code == 201
    assert (await api.client.put(path, content=b"0123456789")).status_code == 200
    changed = await api.client.put(path, content=b"other")
    assert (changed.status_code, changed.json()["code"]) == (409, "file_immutable")
    part = await api.client.get(path, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["content-range"] == "bytes 2-4/10"
    for bad in ("../x", "a//b", "%2e%2e/x"):
        answer = await api.client.put(f"runs/{run['id']}/files/{bad}", content=b"x")
        assert answer.status_code in (404, 405, 422), (bad, answer.text)


async def test_no_file_is_a_folder_of_another(api: LiveApi, request_body: dict[str, Any]) -> None:
    run = (await api.client.post("runs", json=request_body)).json()

    async def put(path: str) -> httpx2.Response:
        return await api.client.put(f"runs/{run['id']}/files/{path}", content=b"x")

    for path in ("outputs/q", "outputs/d/e/f", "outputs/q.z", "outputs/d/e/g"):
        assert (await put(path)).status_code == 201, path
    for path in ("outputs/q/z", "outputs/q/y/z", "outputs/d", "outputs/d/e", "outputs"):
        answer = await put(path)
        assert (answer.status_code, answer.json()["code"]) == (409, "path_conflict"), path
        assert answer.json()["errors"][0]["pointer"] == "path/path"
    archive = (await api.client.get(f"runs/{run['id']}/archive")).content
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        assert len(packed.getnames()) == 4


async def test_metrics_sent_twice_count_once(api: LiveApi, request_body: dict[str, Any]) -> None:
    run = (await api.client.post("runs", json=request_body)).json()
    path = f"runs/{run['id']}/metrics"
    values = [{"name": "loss", "value": 1.0 / (n + 1), "step": 0} for n in range(20)]
    for _ in range(2):
        body = {"source": "me", "first_seq": 0, "values": values}
        assert (await api.client.post(path, json=body)).status_code == 201
    text = '{"source":"me","first_seq":20,"values":[{"name":"loss","value":"NaN","type":"string"}]}'
    headers = {"content-type": "application/json"}
    assert (await api.client.post(path, content=text, headers=headers)).status_code == 201
    (metric,) = (await api.client.get(path)).json()["items"]
    assert len(metric["points"]) == 21
    assert (metric["max"], metric["min"]) == (1.0, 0.05)
    assert metric["last"] == "NaN"


async def test_runs_of_another_workspace_are_not_found(
    api: LiveApi, request_body: dict[str, Any]
) -> None:
    run = (await api.client.post("runs", json=request_body)).json()
    await api.client.put("http://api/v1/workspaces/other")
    answer = await api.client.get(f"http://api/v1/workspaces/other/runs/{run['id']}")
    assert (answer.status_code, answer.json()["code"]) == (404, "run_not_found")


async def test_events_wait_and_stream(api: LiveApi, request_body: dict[str, Any]) -> None:
    run = (await api.client.post("runs", json=request_body)).json()
    path = f"runs/{run['id']}/events"
    waiting = asyncio.create_task(api.client.get(path, params={"after": 2, "wait": 60}))
    await api.client.patch(f"runs/{run['id']}", json={"display_name": "x"})
    async with asyncio.timeout(30):
        events = (await waiting).json()["items"]
    assert [event["type"] for event in events] == ["updated"]
    bad = await api.client.get(
        path, headers={"Accept": "text/event-stream", "Last-Event-ID": "zero"}
    )
    assert bad.status_code == 422
