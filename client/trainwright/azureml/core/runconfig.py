"""What v1 says of a run beside its script: where, with what, on how many nodes."""

from dataclasses import dataclass, field
from typing import Any

from trainwright.azureml._unsupported import leave_aside, refuse
from trainwright.azureml.core.compute import ComputeTarget
from trainwright.azureml.core.conda_dependencies import CondaDependencies
from trainwright.azureml.core.environment import Environment
from trainwright.azureml.core.environment_sections import DEFAULT_CPU_IMAGE, DEFAULT_GPU_IMAGE
from trainwright.azureml.data.dataset_consumption_config import DatasetConsumptionConfig
from trainwright.azureml.exceptions import UserErrorException

__all__ = [
    "DEFAULT_CPU_IMAGE",
    "DEFAULT_GPU_IMAGE",
    "CondaDependencies",
    "DockerConfiguration",
    "MpiConfiguration",
    "PyTorchConfiguration",
    "RunConfiguration",
    "TensorflowConfiguration",
]


@dataclass(slots=True)
class MpiConfiguration:
    """Ranks that are started together, so many on each of so many nodes."""

    process_count_per_node: int = 1
    node_count: int = 1

    communicator = "Mpi"

    def document(self) -> dict[str, Any]:
        """As v1's RunConfiguration has it."""
        return {"mpi": {"processCountPerNode": self.process_count_per_node}}


@dataclass(slots=True)
class TensorflowConfiguration:
    """Workers and parameter servers; without servers the workers reduce among themselves."""

    worker_count: int = 1
    parameter_server_count: int = 1

    communicator = "ParameterServer"

    def document(self) -> dict[str, Any]:
        """As v1's RunConfiguration has it."""
        counts = {
            "workerCount": self.worker_count,
            "parameterServerCount": self.parameter_server_count,
        }
        return {"tensorflow": counts}


@dataclass(slots=True)
class PyTorchConfiguration:
    """Processes that find each other by PyTorch's variables."""

    communication_backend: str = "Nccl"
    process_count: int | None = None
    node_count: int = 1

    communicator = "Nccl"

    def document(self) -> dict[str, Any]:
        """As v1's RunConfiguration has it."""
        return {"pytorch": {"processCount": self.process_count}}


Distribution = MpiConfiguration | TensorflowConfiguration | PyTorchConfiguration


@dataclass(slots=True)
class DockerConfiguration:
    """How containers are started; whether there are any is the operator's choice."""

    use_docker: bool = False
    shared_volumes: bool = True
    arguments: list[str] = field(default_factory=list)
    shm_size: str | None = None


@dataclass(slots=True)
class HistoryConfiguration:
    """What is kept of a run: everything, always."""

    output_collection: bool = True
    directories_to_watch: list[str] = field(default_factory=lambda: ["logs"])
    snapshot_project: bool = True


@dataclass(slots=True)
class RunConfiguration:
    """A run without its source; an attribute that is not one of these is an error.

    Attributes:
        script: an entry script.
        arguments: of the script.
        framework: left aside: the environment says it.
        communicator: None, Mpi, ParameterServer, Nccl.
        target: the cluster, or its name.
        environment: packages and image.
        node_count: nodes.
        data: further inputs by name.
        command: instead of a script.
        max_run_duration_seconds: after which the run is ended.
        environment_variables: beside those of the environment.
    """

    script: str | None = None
    arguments: list[Any] = field(default_factory=list)
    framework: str | None = None
    communicator: str | None = None
    conda_dependencies: Any = None
    target: Any = None
    environment: Environment = field(default_factory=lambda: Environment("default-environment"))
    node_count: int = 1
    data: dict[str, DatasetConsumptionConfig] = field(default_factory=dict)
    command: str | list[str] | None = None
    max_run_duration_seconds: int | None = None
    environment_variables: dict[str, str] = field(default_factory=dict)
    mpi: MpiConfiguration = field(default_factory=MpiConfiguration)
    tensorflow: TensorflowConfiguration = field(default_factory=TensorflowConfiguration)
    pytorch: PyTorchConfiguration = field(default_factory=PyTorchConfiguration)
    docker: DockerConfiguration = field(default_factory=DockerConfiguration)
    history: HistoryConfiguration = field(default_factory=HistoryConfiguration)

    def __post_init__(self) -> None:
        if self.conda_dependencies is not None:
            self.environment.python.conda_dependencies = self.conda_dependencies

    def set_distribution(self, distribution: Distribution) -> None:
        """Take over how a run's processes work together."""
        self.communicator = distribution.communicator
        if isinstance(distribution, MpiConfiguration):
            self.mpi = distribution
            self.node_count = max(self.node_count, distribution.node_count)
        elif isinstance(distribution, PyTorchConfiguration):
            self.pytorch = distribution
            self.node_count = max(self.node_count, distribution.node_count)
        else:
            self.tensorflow = distribution

    def document(self) -> dict[str, Any]:
        """As the v1 SDK submits it, without arguments and data."""
        refuse(
            "RunConfiguration.docker", "Nodes are started by the server.",
            arguments=self.docker.arguments,
        )  # fmt: skip
        leave_aside(
            "RunConfiguration.history", "Outputs, logs and source are always kept.",
            output_collection=not self.history.output_collection and "False",
            snapshot_project=not self.history.snapshot_project and "False",
        )  # fmt: skip
        document: dict[str, Any] = {
            "script": self.script,
            "command": self.command or "",
            "target": target_name(self.target),
            "communicator": self.communicator or "None",
            "nodeCount": self.node_count,
            "maxRunDurationSeconds": self.max_run_duration_seconds,
            "environmentVariables": dict(self.environment_variables),
            "docker": {"shmSize": self.docker.shm_size},
        }
        for part in (self.mpi, self.tensorflow, self.pytorch):
            document |= part.document()
        return document


def target_name(target: Any) -> str:
    """The name of a cluster.

    Raises:
        UserErrorException: there is none, or it is the own machine.
    """
    name = target.name if isinstance(target, ComputeTarget) else target
    if not isinstance(name, str) or not name:
        raise UserErrorException("Say on which cluster: compute_target=ComputeTarget(ws, NAME).")
    if name == "local":
        raise UserErrorException(
            "compute_target='local': runs execute on clusters here, which may be of this very "
            "machine; create one with AmlCompute.provisioning_configuration."
        )
    return name
