"""What has no counterpart is said, never ignored: refused where it matters, else warned of."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from trainwright.azureml.core import Dataset, Datastore, Environment, ScriptRunConfig, Workspace
from trainwright.azureml.core.authentication import InteractiveLoginAuthentication
from trainwright.azureml.core.compute import AksCompute, AmlCompute, ComputeTarget
from trainwright.azureml.core.conda_dependencies import CondaDependencies
from trainwright.azureml.core.environment_sections import DockerSection
from trainwright.azureml.core.model import Model
from trainwright.azureml.core.resource_configuration import ResourceConfiguration
from trainwright.azureml.core.run import Run
from trainwright.azureml.core.runconfig import RunConfiguration, target_name
from trainwright.azureml.core.webservice import AciWebservice, AksWebservice, LocalWebservice
from trainwright.azureml.data import OutputFileDatasetConfig
from trainwright.azureml.data.data_reference import DataReference
from trainwright.azureml.exceptions import (
    AzureMLException,
    AzureOnlyWarning,
    NotSupported,
    UserErrorException,
    WorkspaceException,
)
from trainwright.azureml.train.dnn import Chainer, PyTorch, TensorFlow
from trainwright.azureml.train.estimator import Estimator
from trainwright.azureml.train.hyperdrive import (
    BanditPolicy,
    GridParameterSampling,
    HyperDriveConfig,
    HyperDriveRun,
    PrimaryMetricGoal,
    uniform,
)

ANY: Any = object()
STORE: Any = SimpleNamespace(name="store")


def hyperdrive_run() -> HyperDriveRun:
    return HyperDriveRun(MagicMock(), "sweep_x")


URL = "https://example.org/a.csv"


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda: Datastore.register_azure_file_share(ANY), "buckets"),
        (lambda: Datastore.register_azure_sql_database(ANY), "buckets"),
        (
            lambda: Datastore.register_azure_blob_container(
                ANY, "x", "c", "a", create_if_not_exists=True
            ),
            "where the account is",
        ),
        (lambda: DataReference(STORE, overwrite=True), "folder of its own"),
        (lambda: DataReference(STORE).as_upload(), "./outputs"),
        (lambda: Dataset.Tabular.from_delimited_files(URL), "from_files"),
        (lambda: Dataset.Tabular.from_parquet_files(URL), "from_files"),
        (lambda: Dataset.File.from_files("./local.csv"), "http.server"),
        (lambda: Dataset.File.from_files(URL, partition_format="{x}"), "Columns"),
        (lambda: Dataset.File.upload_directory(".", ANY, pattern="*"), "only these"),
        (lambda: Dataset.File.from_files(URL).take(3), "in the script"),
        (lambda: Dataset.File.from_files(URL).as_named_input("x").as_hdfs(), "as_mount"),
        (OutputFileDatasetConfig, "./outputs"),
        (lambda: ComputeTarget.attach(ANY, "x", ANY), "docs/engines.md"),
        (AksCompute.provisioning_configuration, "AmlCompute"),
        (AksWebservice.deploy_configuration, "AciWebservice"),
        (lambda: AciWebservice.deploy_configuration(primary_key="x"), "by the server"),
        (lambda: AciWebservice.deploy_configuration(collect_model_data=True), "not kept"),
        (lambda: Model.package(ANY, []), "Model.deploy"),
        (lambda: Model.deploy(ANY, "x", [ANY], inference_config=ANY), "without code"),
        (lambda: Model.deploy(ANY, "x", [ANY], deployment_target=ANY), "own nodes"),
        (lambda: Model.deploy(ANY, "x", []), "one model"),
        (Run.get_context, "from azureml.core import Run"),
        (lambda: Environment.from_existing_conda_environment("x", "y"), "conda env export"),
        (lambda: ScriptRunConfig(".", script="a.py", resume_from=ANY), "dataset"),
        (lambda: Estimator(".", entry_script="a.py", vm_size="STANDARD_NC6"), "compute_target"),
        (lambda: Estimator(".", entry_script="a.py", distributed_backend="x"), "training"),
        (lambda: TensorFlow(".", entry_script="a.py", resume_from=ANY), "dataset"),
        (lambda: PyTorch("."), "Estimator"),
        (lambda: Chainer("."), "Estimator"),
        (
            lambda: HyperDriveConfig(
                ANY, "acc", PrimaryMetricGoal.MAXIMIZE, max_total_runs=2, pipeline=ANY
            ).start(ANY, {}),
            "estimator or run_config",
        ),
        (lambda: hyperdrive_run().fail(), "fails by itself"),
        (lambda: hyperdrive_run().get_diagnostics(), "get_details"),
    ],
)
def test_what_cannot_be_is_refused_with_advice(call: Callable[[], object], advice: str) -> None:
    with pytest.raises(NotSupported, match=advice):
        call()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: AmlCompute.provisioning_configuration(admin_username="x"), "admin_username"),
        (lambda: AmlCompute.provisioning_configuration(vnet_name="x"), "vnet_name"),
        (
            lambda: AmlCompute.provisioning_configuration(enable_node_public_ip=False),
            "enable_node_public_ip",
        ),
        (lambda: AciWebservice.deploy_configuration(auth_enabled=False), "auth_enabled"),
        (lambda: AciWebservice.deploy_configuration(ssl_cname="x"), "ssl_cname"),
        (lambda: LocalWebservice.deploy_configuration(port=8890), "port"),
        (lambda: Dataset.File.from_files(URL, validate=False), "validate"),
        (lambda: CondaDependencies.create(pip_indexurl="https://x"), "pip_indexurl"),
        (lambda: Estimator(".", entry_script="a.py", use_docker=False), "use_docker"),
        (lambda: Estimator(".", entry_script="a.py", use_gpu=True), "use_gpu"),
        (lambda: InteractiveLoginAuthentication(tenant_id="x"), "trainwright login"),
    ],
)
def test_what_only_azure_has_is_warned_of(call: Callable[[], object], named: str) -> None:
    with pytest.warns(AzureOnlyWarning, match=named):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: TensorFlow("."),
        lambda: TensorFlow(".", entry_script="a.py", worker_count=2),
        lambda: TensorFlow(".", entry_script="a.py", process_count_per_node=2),
        lambda: ScriptRunConfig(".", script="a.py", command="b"),
        lambda: ScriptRunConfig(".").to_submission(ANY),
        lambda: ResourceConfiguration(cpu=0),
        BanditPolicy,
        lambda: GridParameterSampling({"x": uniform(0, 1)}),
        lambda: target_name("local"),
        lambda: target_name(None),
        lambda: Dataset.File.from_files([]),
        lambda: Dataset.File.from_files(URL).to_path(),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(call: Callable[[], object]) -> None:
    with pytest.raises(UserErrorException):
        call()


def test_what_is_usual_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AmlCompute.provisioning_configuration(vm_size="STANDARD_NC6", max_nodes=4)
        AciWebservice.deploy_configuration(cpu_cores=1, memory_gb=1, auth_enabled=True)
        TensorFlow(".", entry_script="a.py", use_gpu=True, framework_version="2.2")
        Estimator(".", entry_script="a.py", conda_packages=["scikit-learn"])


def test_attributes_that_are_not_there_are_not_swallowed() -> None:
    configuration = RunConfiguration()
    with pytest.raises(AttributeError):
        configuration.nodecount = 2  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        DockerSection().base_images = "x"  # type: ignore[attr-defined]


def test_a_file_of_conda_is_read_and_written(tmp_path: Path) -> None:
    packages = CondaDependencies.create(
        pip_packages=["pandas==1.0", "azureml-defaults"],
        conda_packages=["scikit-learn"],
        python_version="3.7",
    )
    packages.add_pip_package("pandas>=1.1")
    packages.add_tensorflow_conda_package(core_type="gpu", version="2.2")
    packages.add_channel("conda-forge")
    name = packages.save_to_file(str(tmp_path), "myenv.yml")
    environment = Environment.from_conda_specification("mine", str(tmp_path / name))
    read = environment.python.conda_dependencies
    assert read.as_dict() == packages.as_dict()
    assert read.pip_packages == ["azureml-defaults", "pandas>=1.1", "tensorflow-gpu==2.2"]
    assert (read.conda_packages, read.python_version) == (["scikit-learn"], "3.7")


def test_requirements_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# mine\nnumpy>=1.20  # arrays\n\npandas\n")
    environment = Environment.from_pip_requirements("mine", str(file))
    packages = environment.python.conda_dependencies.pip_packages
    assert packages == ["numpy>=1.20", "pandas"]
    file.write_text("--index-url https://elsewhere.example\nnumpy\n")
    with pytest.raises(NotSupported, match="--index-url"):
        Environment.from_pip_requirements("mine", str(file))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"workspace_name": 3}', "\x00", "not json"])
def test_a_file_that_is_no_workspaces_is_refused(
    tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TRAINWRIGHT_URL", "TRAINWRIGHT_TOKEN", "TRAINWRIGHT_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    file = tmp_path / "config.json"
    file.write_text(content)
    with pytest.raises(AzureMLException, match=r"config\.json|No server|cannot be reached"):
        Workspace.from_config(str(file))


def test_a_token_is_not_sent_to_a_server_that_a_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRAINWRIGHT_URL", raising=False)
    monkeypatch.setenv("TRAINWRIGHT_TOKEN", "twt_secret")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"workspace_name": "w", "endpoint": "http://127.0.0.1:2"}))
    with pytest.raises(WorkspaceException, match="TRAINWRIGHT_TOKEN is set, but not for"):
        Workspace.from_config(str(file))
