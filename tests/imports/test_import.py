"""Jobs written for Azure ML become runs; what cannot is refused with its place."""

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.imports.service import translate
from tests.imports.documents import V1, V2, changed, envelope
from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio


def test_a_run_configuration_becomes_a_run() -> None:
    run, translation = translate(envelope(V1, experiment_name="first"))
    asked = run.model_dump(mode="json", exclude_unset=True)
    digits = {
        "dataset": "all digits",
        "version": 3,
        "mode": "download",
        "path_on_compute": None,
    }
    environment = asked.pop("environment")
    assert asked == {
        "experiment_name": "first",
        "snapshot_id": "snap_1",
        "cluster_name": "cpu",
        "entry_script": "train.py",
        "arguments": ["--data", {**digits, "name": "digits"}, "--rate", 0.5],
        "inputs": {"digits": digits},
        "environment_variables": {"COLOUR": "blue"},
        "max_run_duration_seconds": 600,
        "shm_size": "2g",
        "node_count": 1,
    }
    assert run.environment is not None
    assert environment["framework_version"] == "2.16.1"
    assert (run.environment.python_version, run.environment.use_gpu) == ("3.11", True)
    assert run.environment.pip_packages == ["pillow>=9"]
    assert run.environment.conda_packages == []
    codes = {warning["code"] for warning in translation.warnings}
    assert codes == {"azure_packages_dropped", "base_image_ignored"}


@pytest.mark.parametrize(("communicator", "kept"), [("None", []), ("Mpi", ["horovod"])])
def test_horovod_stays_where_mpi_starts_it(communicator: str, kept: list[str]) -> None:
    job = changed(V1, "Configuration/communicator", communicator)
    lines = [{"pip": ["horovod==0.16.1"]}]
    job = changed(job, "Configuration/environment/python/condaDependencies/dependencies", lines)
    run, translation = translate(envelope(job, experiment_name="e"))
    assert run.environment is not None
    assert run.environment.pip_packages == kept
    codes = [one["code"] for one in translation.warnings]
    assert ("azure_packages_dropped" in codes) == (not kept)
    assert ("horovod_version" in codes) == bool(kept)


def test_a_command_job_becomes_a_run() -> None:
    run, translation = translate(envelope(V2))
    assert run.command == "python train.py --n 7 --data ${{inputs.data}}"
    assert run.inputs["data"].model_dump() == {
        "dataset": "digits",
        "version": 2,
        "mode": "download",
        "path_on_compute": None,
    }
    assert (run.cluster_name, run.experiment_name, run.tags) == ("cpu", "second", {"a": "b"})
    assert run.max_run_duration_seconds == 5400
    assert run.environment is not None
    assert (run.environment.framework, run.environment.framework_version) == ("tensorflow", "2.16")
    assert run.environment.use_gpu
    assert [warning["code"] for warning in translation.warnings] == ["curated_environment"]


@pytest.mark.parametrize(
    ("name", "version", "python", "gpu"),
    [
        ("AzureML-tensorflow-2.16-cuda12", "2.16", None, True),
        ("azureml://registries/azureml/environments/AzureML-tensorflow-2.12-cuda11/versions/3",
         "2.12", None, True),
        ("/subscriptions/s/environments/AzureML-tensorflow-2.7-ubuntu20.04-py38-cuda11-gpu"
         "/versions/1", "2.7", "3.8", True),
        ("azureml:AzureML-TensorFlow-2.1-CPU:4", "2.1", None, False),
    ],
)  # fmt: skip
def test_curated_environments_are_understood_by_their_names(
    name: str, version: str, python: str | None, *, gpu: bool
) -> None:
    run, _ = translate(envelope(changed(V2, "properties/environmentId", name)))
    assert run.environment is not None
    assert run.environment.framework_version == version
    assert run.environment.python_version == python
    assert run.environment.use_gpu == gpu


def test_other_environment_names_are_those_of_this_workspace() -> None:
    run, _ = translate(envelope(changed(V2, "properties/environmentId", "azureml:mine:5")))
    assert (run.environment_name, run.environment) == ("mine", None)


def test_what_is_given_beside_the_job_wins() -> None:
    run, _ = translate(
        envelope(
            changed(V1, "Configuration/environment/python/userManagedDependencies", True),
            experiment_name="first",
            cluster_name="other",
            datasets={"digits": {"dataset": "mine"}},
            environment={"pip_packages": ["numpy"]},
        )
    )
    assert run.cluster_name == "other"
    assert (run.inputs["digits"].dataset, run.inputs["digits"].version) == ("mine", "latest")
    assert run.environment is not None
    assert run.environment.pip_packages == ["numpy"]
    python, _ = translate(envelope(V1, experiment_name="first", python_version="3.9"))
    assert python.environment is not None
    assert python.environment.python_version == "3.9"


@pytest.mark.parametrize(
    ("communicator", "settings", "distribution"),
    [
        ("ParameterServer", {"tensorflow": {"workerCount": 2, "parameterServerCount": 1}},
         {"type": "parameter_server", "worker_count": 2, "parameter_server_count": 1}),
        ("ParameterServer", {"tensorflow": {"workerCount": 2, "parameterServerCount": 0}},
         {"type": "multi_worker", "worker_count": 2}),
        ("IntelMpi", {"mpi": {"processCountPerNode": 4}},
         {"type": "mpi", "process_count_per_node": 4}),
        ("Nccl", {"pytorch": {"processCount": 6}}, {"type": "pytorch", "process_count": 6}),
    ],
)  # fmt: skip
def test_the_communicator_of_a_configuration_is_the_distribution(
    communicator: str, settings: dict[str, Any], distribution: dict[str, Any]
) -> None:
    job = changed(V1, "Configuration/communicator", communicator)
    job["Configuration"] |= {"nodeCount": 2, **settings}
    run, _ = translate(envelope(job, experiment_name="e"))
    assert run.node_count == 2
    assert run.distribution is not None
    assert run.distribution.model_dump(exclude_unset=True) == distribution


@pytest.mark.parametrize(
    ("sent", "distribution"),
    [
        ({"distributionType": "TensorFlow", "parameterServerCount": 0},
         {"type": "multi_worker", "worker_count": 3}),
        ({"distributionType": "TensorFlow", "parameterServerCount": 1, "workerCount": 2},
         {"type": "parameter_server", "worker_count": 2, "parameter_server_count": 1}),
        ({"distributionType": "Mpi", "processCountPerInstance": 2},
         {"type": "mpi", "process_count_per_node": 2}),
        ({"distributionType": "PyTorch"}, {"type": "pytorch"}),
    ],
)  # fmt: skip
def test_the_distribution_of_a_job_is_taken_over(
    sent: dict[str, Any], distribution: dict[str, Any]
) -> None:
    job = changed(changed(V2, "properties/distribution", sent),
                  "properties/resources", {"instanceCount": 3})  # fmt: skip
    run, _ = translate(envelope(job))
    assert run.node_count == 3
    assert run.distribution is not None
    assert run.distribution.model_dump(exclude_unset=True) == distribution


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


@pytest.fixture
async def snapshot_id(api: LiveApi) -> str:
    """A source folder, in a workspace that has the cluster."""
    await api.client.put("clusters/cpu", json={"vm_size": "small"})
    source = io.BytesIO()
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("train.py", "print(1)")
    answer = await api.client.put("snapshots", content=source.getvalue())
    return str(answer.json()["id"])


async def test_an_imported_run_is_a_run_with_warnings(api: LiveApi, snapshot_id: str) -> None:
    job = changed(V1, "Configuration/data", {})
    job["Configuration"]["arguments"] = ["--rate", 0.5]
    job["Configuration"]["environment"]["python"]["condaDependencies"]["dependencies"] = [
        {"pip": ["azureml-defaults"]}
    ]
    body = {"job": job, "snapshot_id": snapshot_id, "experiment_name": "first"}
    headers = {"Idempotency-Key": f"one-{api.workspace}"}
    made = await api.client.post("runs/import", json=body, headers=headers)
    assert made.status_code == 201, made.text
    run = made.json()
    assert made.headers["location"].endswith(f"/runs/{run['id']}")
    codes = [warning["code"] for warning in run["warnings"]]
    assert codes[:2] == ["base_image_ignored", "azure_packages_dropped"]
    again = await api.client.post("runs/import", json=body, headers=headers)
    assert again.json()["id"] == run["id"]
    shown = (await api.client.get(f"runs/{run['id']}")).json()
    assert shown["request"]["arguments"] == ["--rate", 0.5]


async def test_what_submitting_finds_points_into_the_document(
    api: LiveApi, snapshot_id: str
) -> None:
    base = {"snapshot_id": snapshot_id, "experiment_name": "first"}
    for job, pointer in (
        (V1, "/job/Configuration/data/digits"),
        (changed(V1, "Configuration/target", "nowhere"), "/job/Configuration/target"),
        (changed(V2, "properties/environmentId", "mine"), "/job/properties/inputs/data"),
    ):
        answer = await api.client.post("runs/import", json=base | {"job": job})
        assert answer.status_code == 422, answer.text
        assert [field["pointer"] for field in answer.json()["errors"]] == [pointer]
    assert (await api.client.get("runs")).json()["items"] == []


async def test_validate_only_reports_and_submits_nothing(api: LiveApi, snapshot_id: str) -> None:
    body: dict[str, Any] = {"snapshot_id": snapshot_id, "experiment_name": "first"}
    job = changed(V1, "Configuration/data", {})
    job["Configuration"] |= {"arguments": ["--rate", 0.5], "spark": {"configuration": {"a": "b"}}}
    job["Configuration"]["environment"]["python"]["condaDependencies"]["dependencies"] = [
        {"pip": ["azureml-defaults", "idna"]}
    ]
    report = await _report(api, body | {"job": job})
    assert report["is_valid"], report
    became = {
        (note["kind"], note["pointer"].removeprefix("/job/Configuration"), note["run_pointer"])
        for note in report["notes"]
    }
    conda = "/environment/python/condaDependencies/dependencies"
    assert became >= {
        ("translated", "/target", "/cluster_name"),
        ("translated", "/script", "/entry_script"),
        ("translated", f"{conda}/0/pip/1", "/environment/pip_packages/0"),
        ("translated", "/experiment_name", "/experiment_name"),
        ("left_aside", conda, None),
        ("left_aside", "/spark", None),
        ("left_aside", "/environment/docker/baseImage", None),
        ("defaulted", "", "/distribution"),
    }
    assert (await api.client.get("runs")).json()["items"] == []
    experiments = await api.client.get("experiments")
    assert experiments.json()["items"] == []
    made = await api.client.post("runs", json=report["run"])
    assert made.status_code == 201, made.text

    wrong = changed(job, "Configuration/target", "nowhere")
    report = await _report(api, body | {"job": wrong})
    assert not report["is_valid"]
    assert [
        (note["pointer"], note["code"]) for note in report["notes"] if note["kind"] == "unsupported"
    ] == [("/job/Configuration/target", "unknown_cluster")]

    wrong = changed(changed(wrong, "Configuration/outputData", {"x": 1}),
                    "Configuration/environment/r", {"a": 1})  # fmt: skip
    report = await _report(api, body | {"job": wrong})
    assert report["run"] is None
    assert {note["pointer"] for note in report["notes"] if note["kind"] == "unsupported"} == {
        "/job/Configuration/outputData", "/job/Configuration/environment/r",
    }  # fmt: skip


async def test_a_job_without_environment_is_said_to_lack_it_and_nothing_else(
    api: LiveApi, snapshot_id: str
) -> None:
    job = "command: echo hi\ncompute: azureml:cpu\nexperiment_name: x\n"
    report = await _report(api, {"snapshot_id": snapshot_id, "job": job})
    assert (report["is_valid"], report["run"]) == (False, None)
    found = [(note["kind"], note["pointer"], note["code"]) for note in report["notes"]]
    assert found[0] == ("unsupported", "/job/environment", "import_unsupported")
    assert {kind for kind, _, _ in found[1:]} == {"translated"}

    named = job.replace("experiment_name: x\n", "environment: azureml:plain\n")
    report = await _report(api, {"snapshot_id": snapshot_id, "job": named})
    pointers = {note["run_pointer"]: note["pointer"] for note in report["notes"]}
    assert pointers["/experiment_name"] == "/job/experiment_name"


async def _report(api: LiveApi, body: dict[str, Any]) -> dict[str, Any]:
    answer = await api.client.post("runs/import", params={"validate_only": "true"}, json=body)
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    return report


@pytest.mark.parametrize("job", [3, None, [], "x" * 70_000])
async def test_what_is_no_document_is_refused_in_one_place(api: LiveApi, job: Any) -> None:
    answer = await api.client.post("runs/import", json={"job": job, "snapshot_id": "x"})
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == ["/job"]


def test_tags_and_name_beside_the_job_win() -> None:
    run, _ = translate(envelope(V2, tags={"a": "c", "d": "e"}, display_name="mine"))
    assert (run.tags, run.display_name) == ({"a": "c", "d": "e"}, "mine")


def test_a_version_of_data_may_be_text_in_a_document() -> None:
    place = "Configuration/data/digits/dataLocation/dataset/version"
    run, _ = translate(envelope(changed(V1, place, "2"), experiment_name="first"))
    assert run.inputs["digits"].version == 2


def test_the_base_of_a_v1_environment_where_environments_are_container_images() -> None:
    environment = "Configuration/environment"
    registry = {"address": "registry.example", "username": None}
    job = changed(V1, f"{environment}/docker/baseImageRegistry", registry)
    run, translation = translate(envelope(job, experiment_name="e"), has_container_images=True)
    assert run.environment is not None
    assert run.environment.base_image == "registry.example/base:1"
    assert run.environment.framework_version == "2.16.1"
    assert translation.origin_of("/environment/base_image").endswith("/docker/baseImage")
    job = changed(job, f"{environment}/docker/baseImage", "team/python:3")
    run, _ = translate(envelope(job, experiment_name="e"), has_container_images=True)
    assert run.environment is not None
    assert run.environment.base_image == "registry.example/team/python:3"
    job = changed(job, f"{environment}/python/userManagedDependencies", True)
    run, _ = translate(envelope(job, experiment_name="e"), has_container_images=True)
    assert run.environment is not None
    assert run.environment.user_managed
    assert run.environment.pip_packages == []
    job = changed(V1, f"{environment}/docker", {"baseDockerfile": "FROM python:3.11\n"})
    run, _ = translate(envelope(job, experiment_name="e"), has_container_images=True)
    assert run.environment is not None
    assert run.environment.dockerfile == "FROM python:3.11\n"


def test_azures_own_base_is_left_aside_everywhere() -> None:
    name = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04:20220504.v1"
    job = changed(V1, "Configuration/environment/docker/baseImage", name)
    run, translation = translate(envelope(job, experiment_name="e"), has_container_images=True)
    assert run.environment is not None
    assert run.environment.base_image is None
    assert "base_image_ignored" in {warning["code"] for warning in translation.warnings}
