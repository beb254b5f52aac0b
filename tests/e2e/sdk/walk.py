"""The main job through the client that openapi-python-client makes.

Runs under the generated client's own Python: ADDRESS TOKEN WORKSPACE DATASET_URL TENSORFLOW SCRIPT.
"""

import sys
from http import HTTPStatus
from typing import Any, TypeVar

from main_job import asked, packed, settled
from trainwright_api import AuthenticatedClient
from trainwright_api.api.clusters import put_cluster
from trainwright_api.api.datasets import register_dataset
from trainwright_api.api.deployments import (
    delete_deployment,
    get_deployment,
    put_deployment,
    score_deployment,
)
from trainwright_api.api.metrics import list_run_metrics
from trainwright_api.api.models import create_model_version
from trainwright_api.api.runs import (
    create_run,
    get_run,
    get_run_file,
    get_run_logs,
    list_run_events,
    list_run_files,
)
from trainwright_api.api.snapshots import upload_snapshot
from trainwright_api.api.workspaces import get_workspace, put_workspace
from trainwright_api.models import (
    ClusterPut,
    ClusterRead,
    DatasetRegister,
    DatasetVersionRead,
    DeploymentPut,
    DeploymentRead,
    ModelVersionCreate,
    ModelVersionRead,
    Problem,
    RunCreate,
    RunRead,
    ScoreDeploymentBody,
    SnapshotRead,
    WorkspaceUpdate,
)
from trainwright_api.types import File

ADDRESS, TOKEN, WORKSPACE, DATASET_URL, TENSORFLOW, SCRIPT = sys.argv[1:]
client = AuthenticatedClient(base_url=ADDRESS, token=TOKEN, timeout=90)
T = TypeVar("T")


def of(kind: type[T], answer: Any) -> T:
    assert isinstance(answer, kind), answer
    return answer


def run_it() -> RunRead:
    workspace = put_workspace.sync_detailed(WORKSPACE, client=client, body=WorkspaceUpdate())
    assert workspace.status_code in (HTTPStatus.OK, HTTPStatus.CREATED)
    body = DatasetRegister.from_dict({"name": "digits", "urls": [DATASET_URL]})
    dataset = register_dataset.sync(WORKSPACE, client=client, body=body)
    assert of(DatasetVersionRead, dataset).version == 1
    cluster = put_cluster.sync(WORKSPACE, "cpu", client=client, body=ClusterPut(vm_size="MEDIUM"))
    assert of(ClusterRead, cluster).name == "cpu"
    archive = File(payload=packed(SCRIPT))
    snapshot = of(SnapshotRead, upload_snapshot.sync(WORKSPACE, client=client, body=archive))
    body = RunCreate.from_dict(asked(snapshot.id, TENSORFLOW, "python"))
    run = of(RunRead, create_run.sync(WORKSPACE, client=client, body=body, idempotency_key="walk"))
    again = create_run.sync_detailed(WORKSPACE, client=client, body=body, idempotency_key="walk")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert of(RunRead, again.parsed).id == run.id
    return settled(
        lambda: of(RunRead, get_run.sync(WORKSPACE, run.id, client=client)),
        lambda found: found.status,
        "Completed",
    )


def look_at(run: RunRead) -> None:
    events = list_run_events.sync(WORKSPACE, run.id, client=client)
    assert getattr(events, "items", [])
    logs = get_run_logs.sync_detailed(WORKSPACE, run.id, client=client)
    assert b"files 1" in logs.content, logs.content
    metrics = list_run_metrics.sync(WORKSPACE, run.id, client=client)
    assert [metric.name for metric in getattr(metrics, "items", [])] == ["accuracy"]
    listed = list_run_files.sync(WORKSPACE, run.id, client=client, prefix="outputs/")
    paths = [file.path for file in getattr(listed, "items", [])]
    assert "outputs/model/saved_model.pb" in paths, paths
    path = "outputs/model/saved_model.pb"
    file = get_run_file.sync(WORKSPACE, run.id, path, client=client)
    assert of(File, file).payload.read(1)


def serve(run: RunRead) -> None:
    version = ModelVersionCreate.from_dict(
        {
            "run_id": run.id,
            "path": "outputs/model",
            "framework": "tensorflow",
            "framework_version": TENSORFLOW,
        }
    )
    made = create_model_version.sync(WORKSPACE, "doubler", client=client, body=version)
    assert of(ModelVersionRead, made).version == 1
    put = DeploymentPut.from_dict({"model_name": "doubler"})
    of(DeploymentRead, put_deployment.sync(WORKSPACE, "doubler", client=client, body=put))
    settled(
        lambda: of(DeploymentRead, get_deployment.sync(WORKSPACE, "doubler", client=client)),
        lambda found: found.state,
        "Healthy",
    )
    body = ScoreDeploymentBody.from_dict({"instances": [[1.0, 2.0]]})
    scored = score_deployment.sync_detailed(WORKSPACE, "doubler", client=client, body=body)
    assert b"[2.0,4.0]" in scored.content.replace(b" ", b""), scored.content
    delete_deployment.sync_detailed(WORKSPACE, "doubler", client=client)


def fail() -> None:
    missing = get_workspace.sync("nowhere", client=client)
    assert of(Problem, missing).status == HTTPStatus.NOT_FOUND


fail()
done = run_it()
look_at(done)
serve(done)
sys.stdout.write("walked\n")
