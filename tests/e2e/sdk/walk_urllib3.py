"""The main job through the Python client that openapi-generator makes.

Runs under the generated client's own Python: ADDRESS TOKEN WORKSPACE DATASET_URL TENSORFLOW SCRIPT.
"""

import sys
from http import HTTPStatus

import trainwright_api as api
from main_job import asked, packed, settled
from trainwright_api.exceptions import NotFoundException

ADDRESS, TOKEN, WORKSPACE, DATASET_URL, TENSORFLOW, SCRIPT = sys.argv[1:]
client = api.ApiClient(api.Configuration(host=ADDRESS, access_token=TOKEN))
runs = api.RunsApi(client)


def run_it() -> api.RunRead:
    workspaces = api.WorkspacesApi(client)
    made = workspaces.put_workspace_with_http_info(WORKSPACE)
    assert made.status_code in (HTTPStatus.OK, HTTPStatus.CREATED)
    register = api.DatasetRegister.from_dict({"name": "digits", "urls": [DATASET_URL]})
    dataset = api.DatasetsApi(client).register_dataset(WORKSPACE, register).actual_instance
    assert isinstance(dataset, api.DatasetVersionRead), dataset
    assert dataset.version == 1
    cluster = api.ClusterPut.from_dict({"vm_size": "MEDIUM"})
    assert api.ClustersApi(client).put_cluster("cpu", WORKSPACE, cluster).name == "cpu"
    snapshot = api.SnapshotsApi(client).upload_snapshot(WORKSPACE, packed(SCRIPT).getvalue())
    body = api.RunCreate.from_dict(asked(snapshot.id, TENSORFLOW, "python-urllib3"))
    run = runs.create_run(WORKSPACE, body, idempotency_key=WORKSPACE)
    again = runs.create_run_with_http_info(WORKSPACE, body, idempotency_key=WORKSPACE)
    assert (again.headers or {})["idempotency-replayed"] == "true"
    assert again.data.id == run.id
    listed = runs.list_runs(WORKSPACE, page_size=1)
    assert [each.id for each in listed.items] == [run.id]
    return settled(lambda: runs.get_run(run.id, WORKSPACE), lambda each: each.status, "Completed")


def look_at(run: api.RunRead) -> None:
    assert runs.list_run_events(run.id, WORKSPACE).items
    # By itself the client asks for whatever has json in its name, and cannot read NDJSON.
    log = runs.get_run_logs(run.id, WORKSPACE, _headers={"Accept": "text/plain"})
    assert "files 1" in log, log
    metrics = api.MetricsApi(client).list_run_metrics(run.id, WORKSPACE)
    assert [metric.name for metric in metrics.items] == ["accuracy"]
    paths = [file.path for file in runs.list_run_files(run.id, WORKSPACE, prefix="outputs/").items]
    assert "outputs/model/saved_model.pb" in paths, paths
    assert runs.get_run_file("outputs/model/saved_model.pb", run.id, WORKSPACE)


def serve(run: api.RunRead) -> None:
    version = api.ModelVersionCreate.from_dict(
        {
            "run_id": run.id,
            "path": "outputs/model",
            "framework": "tensorflow",
            "framework_version": TENSORFLOW,
        }
    )
    assert api.ModelsApi(client).create_model_version("doubler", WORKSPACE, version).version == 1
    served = api.DeploymentsApi(client)
    served.put_deployment("doubler", WORKSPACE, api.DeploymentPut(model_name="doubler"))
    settled(lambda: served.get_deployment("doubler", WORKSPACE), lambda each: each.state, "Healthy")
    scored = served.score_deployment(WORKSPACE, "doubler", {"instances": [[1.0, 2.0]]})
    assert scored == {"predictions": [[2.0, 4.0]]}, scored
    served.delete_deployment("doubler", WORKSPACE)


def fail() -> None:
    try:
        api.WorkspacesApi(client).get_workspace("nowhere")
    except NotFoundException as refused:
        answer = refused.data
    assert isinstance(answer, api.Problem), answer
    assert answer.status == HTTPStatus.NOT_FOUND


fail()
done = run_it()
look_at(done)
serve(done)
sys.stdout.write("walked\n")
