"""The calls of the real azureml-core package, with bodies as it sends them."""

import io
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.auth.principal import Principal
from app.storage.objects import ObjectStore
from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Script:
    """What a script inside a run knows: addresses made of its environment, and its token."""

    api: LiveApi
    client: httpx2.AsyncClient
    run_id: str
    history: str
    metric: str
    artifacts: str
    discovery: str


@pytest.fixture
async def script(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[Script]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        await api.client.put("clusters/cpu", json={"vm_size": "small"})
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.addfile(tarfile.TarInfo("train.py"))
        snapshot = (await api.client.put("snapshots", content=packed.getvalue())).json()
        body = {
            "experiment_name": "first", "snapshot_id": snapshot["id"],
            "cluster_name": "cpu", "entry_script": "train.py",
        }  # fmt: skip
        run = (await api.client.post("runs", json=body)).json()
        experiment = (await api.client.get("experiments/first")).json()
        config = (await api.client.get("config")).json()
        signer, workspace_id = api.app.state.signer, config["subscription_id"]
        scope = (
            f"/subscriptions/{workspace_id}/resourceGroups/{config['resource_group']}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{api.workspace}"
        )
        token = signer.issue(
            Principal(kind="run", id=run["id"], name="run", workspace_id=workspace_id)
        )
        discovery = signer.issue(Principal(kind="discovery", id=run["id"], name="discovery"))
        transport = httpx2.ASGITransport(api.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://api", headers={"Authorization": f"Bearer {token}"}
        ) as client:
            yield Script(
                api=api,
                client=client,
                run_id=run["id"],
                history=f"/history/v1.0{scope}/experimentids/{experiment['id']}/runs/{run['id']}",
                metric=f"/metric/v2.0{scope}/runs/{run['id']}",
                artifacts=f"/artifact/v2.0{scope}/artifacts",
                discovery=f"/discovery/{discovery}",
            )


def scalar(metric_id: str, value: Any) -> dict[str, Any]:
    """One scalar as the package sends it."""
    return {
        "name": "acc",
        "columns": {"acc": "double"},
        "value": [
            {
                "metricId": metric_id,
                "createdUtc": "2026-11-24T05:00:00+00:00",
                "data": {"acc": value},
            }
        ],
        "properties": {"uxMetricType": "azureml.v1.scalar"},
    }


async def test_discovery_needs_no_header_but_its_own_credential(script: Script) -> None:
    transport = httpx2.ASGITransport(script.api.app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as anonymous:
        found = await anonymous.get(script.discovery)
        assert found.json()["history"] == "http://api"
        assert (await anonymous.get("/discovery/made-up")).status_code == 401
        stolen = {"Authorization": f"Bearer {script.discovery.rpartition('/')[2]}"}
        assert (await anonymous.get(script.history, headers=stolen)).status_code == 403


async def test_a_batch_sent_again_doubles_nothing(script: Script) -> None:
    values = [scalar(f"id-{number}", number / 20) for number in range(20)]
    for _ in range(2):
        answer = await script.client.post(f"{script.metric}/batch", json={"values": values})
        assert answer.status_code == 200, answer.text
    # The run has no attempt yet: its metrics are those of attempt 0.
    (metric,) = (await script.api.client.get(f"runs/{script.run_id}/metrics")).json()["items"]
    assert sorted(point["value"] for point in metric["points"]) == [n / 20 for n in range(20)]


async def test_a_bad_value_holds_up_no_other(script: Script) -> None:
    early = scalar("early", 0.5)
    early["value"][0]["createdUtc"] = "0001-01-01T00:00:00"
    values = [{"name": ""}, scalar("good", 0.5), early]
    answer = await script.client.post(f"{script.metric}/batch", json={"values": values})
    assert [refused["index"] for refused in answer.json()["errors"]] == [0, 2]


async def test_a_value_that_is_a_file_is_read_without_a_session(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, read, held = script.api, ObjectStore.open, []
    kept = await api.client.put(f"runs/{script.run_id}/files/m.json", content=b'{"a": [1, 2]}')
    assert kept.status_code == 201

    async def looked(store: ObjectStore, sha256: str, **given: int) -> AsyncIterator[bytes]:
        held.append(api.database.pool_use()[0].in_use)
        return await read(store, sha256, **given)

    monkeypatch.setattr(ObjectStore, "open", looked)
    value = scalar("in-a-file", "m.json")
    value["properties"]["uxMetricType"] = "azureml.v2.table"
    answer = await script.client.post(f"{script.metric}/batch", json={"values": [value]})

    assert answer.json()["errors"] == []
    (metric,) = (await api.client.get(f"runs/{script.run_id}/metrics")).json()["items"]
    assert metric["last"] == {"a": [1, 2]}
    assert held == [0]


async def test_what_is_longer_than_is_kept_is_refused_with_its_place(script: Script) -> None:
    for body, pointer in (
        ({"tags": {"config": "x" * 1001}}, "/tags/config"),
        ({"tags": {"": "x"}}, "/tags/"),
        ({"displayName": "x" * 5000}, "/display_name"),
    ):
        answer = await script.client.patch(script.history, json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"] == pointer


async def test_tags_and_properties_arrive_and_a_state_does_not(script: Script) -> None:
    body = {"tags": {"k": "v", "bare": None}, "properties": {"p": "q"}, "status": "Completed"}
    changed = await script.client.patch(script.history, json=body)
    assert changed.status_code == 200, changed.text
    run = (await script.api.client.get(f"runs/{script.run_id}")).json()
    assert run["tags"] == {"k": "v", "bare": ""}
    assert run["properties"] == {"p": "q"}
    assert run["status"] == "Starting"
    event = {"name": "Microsoft.MachineLearning.Run.Completed"}
    assert (await script.client.post(f"{script.history}/events", json=event)).status_code == 200
    assert (await script.client.get(script.history)).json()["status"] == "Starting"


async def test_flushing_waits_for_nothing(script: Script) -> None:
    assert (await script.client.get(f"{script.history}/metricsingest/wait")).status_code == 200


async def test_another_run_is_not_there(script: Script) -> None:
    other = script.history.replace(script.run_id, "run_" + "0" * 26)
    assert (await script.client.get(other)).status_code == 404


async def test_what_is_not_served_says_so(script: Script) -> None:
    answer = await script.client.get(f"{script.history}/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "azureml_call_not_served")


async def signed(script: Script, path: str) -> str:
    """Where the package is told to send a file."""
    place = f"ExperimentRun/dcid.{script.run_id}"
    answer = await script.client.post(
        f"{script.artifacts}/batch/metadata/{place}", json={"paths": [{"path": path}]}
    )
    assert answer.status_code == 200, answer.text
    url: str = answer.json()["artifactContentInformation"][path]["contentUri"]
    return url


async def test_an_address_of_a_file_is_good_for_files_of_its_run_only(script: Script) -> None:
    transport = httpx2.ASGITransport(script.api.app, raise_app_exceptions=False)
    url = await signed(script, "notes/ü %.txt")
    async with httpx2.AsyncClient(transport=transport) as anonymous:
        assert (await anonymous.get(url)).status_code == 404
        assert (await anonymous.put(url, content=b"one")).status_code == 201
        assert (await anonymous.put(url, content=b"one")).status_code == 201
        assert (await anonymous.put(url, content=b"two")).status_code == 409
        assert (await anonymous.get(url)).content == b"one"
        token = url.partition("/artifact/signed/")[2].partition("/")[0]
        stolen = {"Authorization": f"Bearer {token}"}
        files = f"http://api/v1/workspaces/{script.api.workspace}/runs/{script.run_id}/files"
        assert (await anonymous.get(files, headers=stolen)).status_code == 403
        assert (
            await anonymous.get(f"http://api{script.history}", headers=stolen)
        ).status_code == 403
        other = url.replace(token, script.client.headers["authorization"].split()[1])
        assert (await anonymous.get(other)).status_code == 403
        assert (await anonymous.get(url.replace(token, token[:-4] + "AAAA"))).status_code == 401
        up = url.partition("notes")[0] + "notes/%2e%2e/x"
        assert (await anonymous.put(up, content=b"x")).status_code == 422
        found = f"{script.artifacts}/contentinfo/ExperimentRun/dcid.{script.run_id}/notes/ü %.txt"
        to_read = (await script.client.get(found)).json()["contentUri"]
        assert (await anonymous.get(to_read)).content == b"one"
        assert (await anonymous.put(to_read + "2", content=b"x")).status_code == 403
    kept = await script.api.client.get(f"runs/{script.run_id}/files/notes/ü %.txt")
    assert kept.content == b"one"


async def test_files_of_another_run_are_not_there(script: Script) -> None:
    for place in (
        f"ExperimentRun/dcid.run_{'0' * 26}",
        "ExperimentRun/x",
        f"Other/dcid.{script.run_id}",
    ):
        assert (await script.client.get(f"{script.artifacts}/{place}")).status_code == 404
    found = await script.client.get(f"{script.artifacts}/ExperimentRun/dcid.{script.run_id}")
    assert found.json()["value"] == []


async def test_a_child_that_is_made_again_is_the_same(script: Script) -> None:
    address = script.history.replace(script.run_id, "8d5d3f1e-1f0a-4a55-9f8c-3b8d2f5a0001")
    body = {"parentRunId": script.run_id, "name": "part", "status": "NotStarted"}
    first = await script.client.patch(address, json=body)
    again = await script.client.patch(address, json=body)
    assert first.json()["runId"] == again.json()["runId"] != script.run_id
    assert first.json()["parentRunId"] == script.run_id
    assert (await script.client.patch(address + "x", json={})).status_code == 404
    # Under both ids, and with a state that its script decides on.
    done = {"name": "Microsoft.MachineLearning.Run.Completed"}
    assert (await script.client.post(f"{address}/events", json=done)).status_code == 200
    ours = script.history.replace(script.run_id, first.json()["runId"])
    assert (await script.client.get(ours)).json()["status"] == "Completed"


async def test_a_model_of_what_is_no_file_here_is_refused(script: Script) -> None:
    management = script.metric.partition("/runs/")[0].replace("metric/v2.0", "modelmanagement/v1.0")
    for url in ("aml://asset/!", "aml://asset/eA", "https://x/y"):
        answer = await script.client.post(f"{management}/models", json={"name": "m", "url": url})
        assert (answer.status_code, answer.json()["code"]) == (422, "asset_unknown"), answer.text
    answer = await script.client.post(f"{management}/assets", json={"name": "m", "artifacts": []})
    assert answer.status_code == 422
    place = {"prefix": f"ExperimentRun/dcid.{script.run_id}/outputs/model"}
    asset = await script.client.post(f"{management}/assets", json={"artifacts": [place]})
    body = {"name": "m", "url": f"aml://asset/{asset.json()['id']}"}
    answer = await script.client.post(f"{management}/models", json=body)
    assert answer.json()["errors"][0]["code"] == "path_not_found"
    for model_id in ("nothing", "m:1", "m:x", "m:" + "9" * 30):
        assert (await script.client.get(f"{management}/models/{model_id}")).status_code == 404
