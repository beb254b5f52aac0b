"""Who may do what, and how MLflow's clients are told that they may not."""

import asyncio
import io
import tarfile
from collections.abc import Coroutine, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import RestException

from app.auth.principal import Principal
from app.runs.attempts import begin
from app.tables.run import Run
from tests.mlflow.conftest import Space
from tests.served import Served


def in_server(served: Served, work: Coroutine[Any, Any, None]) -> None:
    """Let something happen in the loop of the server."""
    asyncio.run_coroutine_threadsafe(work, served.loop).result(timeout=30)


def submit(space: Space, *, experiment: str = "digits") -> str:
    """Submit a job that waits for a cluster; returns its id."""
    space.http.put("clusters/cpu", json={"vm_size": "small"}).raise_for_status()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("train.py"))
    snapshot = space.http.put("snapshots", content=packed.getvalue()).json()
    body = {
        "experiment_name": experiment, "snapshot_id": snapshot["id"],
        "cluster_name": "cpu", "entry_script": "train.py",
    }  # fmt: skip
    return str(space.http.post("runs", json=body).json()["id"])


@pytest.fixture
def job(space: Space) -> str:
    """Return a job."""
    return submit(space)


@pytest.fixture
def script(
    served: Served, space: Space, job: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MlflowClient]:
    """Return the client as a script in the job has it, whose attempt has begun."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", begin_attempt(served, space, job))
    yield MlflowClient(tracking_uri=space.tracking, registry_uri=space.tracking)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", served.token)


def begin_attempt(served: Served, space: Space, job: str) -> str:
    """Let the next attempt of a job begin; returns its script's token."""
    attempts: list[Run] = []

    async def work() -> None:
        async with served.api.database.session() as session:
            run = await session.get_one(Run, job)
            run.status = "Queued"
            await session.flush()
            await begin(
                session,
                run_id=job,
                cluster_node_ids=[],
                price_per_node_hour=Decimal(0),
                reserved=0.0,
            )
            attempts.append(await session.get_one(Run, job))

    in_server(served, work())
    run = attempts[0]
    principal = Principal(
        kind="run", id=job, name="run", workspace_id=run.workspace_id, attempt=run.attempt
    )
    return str(served.api.app.state.signer.issue(principal))


def test_a_script_logs_to_its_own_run(script: MlflowClient, space: Space, job: str) -> None:
    run = script.get_run(job)
    assert (run.info.status, run.data.tags["mlflow.source.name"]) == ("SCHEDULED", "train.py")
    script.log_batch(job, [Metric("acc", 0.5, 1, 1)])
    script.log_param(job, "lr", 1)
    script.log_text(job, "hello", "note.txt")
    # What it says about its state is noted, and changes nothing.
    script.set_terminated(job, "FINISHED")
    shown = space.http.get(f"runs/{job}").json()
    assert (shown["status"], shown["params"]) == ("Queued", {"lr": "1"})
    (metric,) = space.http.get(f"runs/{job}/metrics").json()["items"]
    assert (metric["name"], metric["last"]) == ("acc", 0.5)
    events = space.http.get(f"runs/{job}/events").json()["items"]
    assert "mlflow.FINISHED" in [event["data"].get("name") for event in events]


def test_a_script_makes_runs_below_its_own_and_sees_no_other(
    script: MlflowClient, space: Space, job: str
) -> None:
    own = script.get_run(job)
    tags = {"mlflow.parentRunId": job}
    child = script.create_run(own.info.experiment_id, run_name="child", tags=tags)
    script.log_metric(child.info.run_id, "acc", 1)
    script.set_terminated(child.info.run_id)
    found = script.search_runs([own.info.experiment_id], f"tags.mlflow.parentRunId = '{job}'")
    assert [run.info.run_id for run in found] == [child.info.run_id]
    assert space.http.get(f"runs/{child.info.run_id}").json()["creator_run_id"] == job
    other = submit(space)
    with pytest.raises(RestException) as refused:
        script.get_run(other)
    assert refused.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert len(script.search_runs([own.info.experiment_id])) == 2
    with pytest.raises(RestException) as refused:
        script.create_run("0")
    assert refused.value.error_code == "PERMISSION_DENIED"


def test_a_script_reads_logged_models_of_its_own_run_alone(
    served: Served, space: Space, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = space.client.get_run(job).info.experiment_id
    tokens = [begin_attempt(served, space, run) for run in (job, submit(space))]
    source = tmp_path / "MLmodel"
    source.write_text("flavors: {}")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", tokens[1])
    model = space.client.create_logged_model(experiment, "net")
    space.client.log_model_artifact(model.model_id, str(source))
    one = f"logged-models/{model.model_id}"
    files = f"{space.tracking}/ajax-api/2.0/mlflow/{one}/artifacts/files?artifact_file_path=MLmodel"
    stored = model.artifact_location.removeprefix("mlflow-artifacts:/")
    addresses = (
        f"{space.tracking}/api/2.0/mlflow/{one}",
        f"{space.tracking}/api/2.0/mlflow/{one}/artifacts/directories",
        files,
        f"{space.tracking}/api/2.0/mlflow-artifacts/artifacts/{stored}/MLmodel",
    )
    for token, status in ((tokens[0], 404), (tokens[1], 200), (served.token, 200)):
        headers = {"Authorization": f"Bearer {token}"}
        found = [space.http.get(address, headers=headers).status_code for address in addresses]
        assert found == [status] * len(addresses)
    space.call("DELETE", one).raise_for_status()
    assert space.http.get(files).status_code == 404


def test_a_script_reads_logged_models_that_are_registered_and_changes_none_of_others(
    served: Served, space: Space, job: str
) -> None:
    token = begin_attempt(served, space, job)
    experiment = space.client.get_run(job).info.experiment_id
    model = space.client.create_logged_model(experiment, "net")
    one = f"{space.tracking}/api/2.0/mlflow/logged-models/{model.model_id}"
    headers = {"Authorization": f"Bearer {token}"}
    assert space.http.get(one, headers=headers).status_code == 404
    space.client.create_registered_model("net")
    space.client.create_model_version("net", model.artifact_location, model_id=model.model_id)
    assert space.http.get(one, headers=headers).status_code == 200
    tags = {"tags": [{"key": "mine", "value": "now"}]}
    assert space.http.patch(f"{one}/tags", headers=headers, json=tags).status_code == 404


def test_a_script_registers_what_its_run_has_made_and_changes_no_other_model(
    script: MlflowClient, space: Space, job: str
) -> None:
    script.log_text(job, "x", "model/saved_model.pb")
    script.create_registered_model("digits")
    script.create_model_version("digits", f"runs:/{job}/model", job)
    assert space.http.get("models/digits/versions/1").json()["lineage"]["run_id"] == job
    other = submit(space)
    for forbidden in (
        lambda: script.create_model_version("digits", f"runs:/{other}/model", other),
        lambda: script.delete_registered_model("digits"),
        lambda: script.set_registered_model_alias("digits", "champion", "1"),
        lambda: script.delete_run(job),
        lambda: script.create_experiment("more"),
        script.search_experiments,
    ):
        with pytest.raises(RestException) as refused:
            forbidden()
        assert refused.value.error_code == "PERMISSION_DENIED"


def test_a_lost_attempt_is_shut_out_and_its_parameters_are_the_next_ones_to_write(
    served: Served, script: MlflowClient, space: Space, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.log_param(job, "seed", 1)
    script.log_text(job, "first", "note.txt")
    script.log_metric(job, "acc", 0.1)
    child = script.create_run(script.get_run(job).info.experiment_id)
    token = begin_attempt(served, space, job)
    with pytest.raises(RestException, match="taken over"):
        script.log_metric(job, "acc", 0.2)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
    script.log_param(job, "seed", 2)
    script.log_text(job, "second", "note.txt")
    run = script.get_run(job)
    assert (run.data.params, run.data.metrics) == ({"seed": "2"}, {})
    assert space.http.get(f"runs/{job}/files/attempts/1/note.txt").text == "first"
    # What the lost script kept besides will not be ended by it any more.
    assert script.get_run(child.info.run_id).info.status == "FAILED"


def test_a_job_that_is_not_over_cannot_be_hidden(space: Space, job: str) -> None:
    with pytest.raises(RestException, match="cancel it"):
        space.client.delete_run(job)
    experiment = space.client.get_run(job).info.experiment_id
    with pytest.raises(RestException, match="cancel it"):
        space.client.delete_experiment(experiment)


def test_nothing_is_answered_without_a_token_or_in_another_workspace(
    served: Served, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = space.client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "made-up")
    with pytest.raises(RestException) as refused:
        space.client.get_run(run_id)
    assert refused.value.error_code == "UNAUTHENTICATED"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", served.token)
    elsewhere = MlflowClient(
        tracking_uri=f"{served.address}/v1/workspaces/{served.api.workspace}/mlflow"
    )
    with pytest.raises(RestException) as refused:
        elsewhere.get_run(run_id)
    assert refused.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    nowhere = MlflowClient(tracking_uri=f"{served.address}/v1/workspaces/none-such/mlflow")
    with pytest.raises(RestException, match="no workspace"):
        nowhere.get_run(run_id)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "traces", {}, 404, "ENDPOINT_NOT_FOUND"),
        ("GET", "runs/create", None, 404, "ENDPOINT_NOT_FOUND"),
        ("POST", "runs/create", {"experiment_id": 7}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", "runs/log-metric", {"key": "k"}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", "runs/create", {"experiment_id": "77"}, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", "runs/get", None, 400, "INVALID_PARAMETER_VALUE"),
        ("GET", "experiments/get?experiment_id=", None, 400, "INVALID_PARAMETER_VALUE"),
        ("GET", "registered-models/get?name=", None, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", "runs/set-tag", {"run_id": "a\x00", "key": "k"}, 400, "INVALID_PARAMETER_VALUE"),
    ],
)
def test_refusals_have_mlflows_shape(
    space: Space, method: str, path: str, body: Any, status: int, code: str
) -> None:
    answer = space.call(method, path, json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error_code", "message"}
    assert answer.json()["message"]


def test_bodies_that_are_no_json_or_too_large_are_refused_in_the_same_shape(space: Space) -> None:
    headers = {"Content-Type": "application/json"}
    answer = space.call("POST", "runs/create", content=b"{", headers=headers)
    assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    answer = space.call("POST", "runs/create", content=b" " * 9_000_000, headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (413, "INVALID_PARAMETER_VALUE")


def test_the_tracking_address_says_what_it_is(space: Space) -> None:
    info = space.http.get(f"{space.tracking}/api/3.0/mlflow/server-info").json()
    assert info["workspaces_enabled"] is False
    for slashes in ("/", "//"):
        assert space.http.get(f"{space.tracking}{slashes}health").text == "OK"
    pages = f"{space.tracking}/ajax-api/2.0/mlflow/experiments/get?experiment_id=0"
    assert space.http.get(pages).json()["experiment"]["name"] == "Default"
