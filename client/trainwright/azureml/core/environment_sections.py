"""The parts of an environment; an attribute that is not theirs is an error, not forgotten."""

from dataclasses import dataclass, field
from typing import Any

from trainwright.azureml._unsupported import leave_aside, refuse
from trainwright.azureml.core.conda_dependencies import CondaDependencies
from trainwright.azureml.core.container_registry import ContainerRegistry

DEFAULT_CPU_IMAGE = "mcr.microsoft.com/azureml/base:0.2.4"
DEFAULT_GPU_IMAGE = "mcr.microsoft.com/azureml/base-gpu:0.2.4"


@dataclass(slots=True)
class DockerSection:
    """The image of an environment.

    Attributes:
        enabled: left aside: where nodes are containers is the operator's choice.
        base_image: an image to begin with.
        base_dockerfile: or the text of a Dockerfile.
        base_image_registry: where the image is.
        shm_size: of /dev/shm, such as '2g'.
        arguments: have no counterpart.
        gpu_support: left aside: `use_gpu`, or `tensorflow-gpu`, says it.
        shared_volumes: left aside.
    """

    enabled: bool = False
    base_image: str | None = None
    base_dockerfile: str | None = None
    base_image_registry: ContainerRegistry = field(default_factory=ContainerRegistry)
    shm_size: str | None = None
    arguments: list[str] = field(default_factory=list)
    gpu_support: bool = False
    shared_volumes: bool = True

    def to_document(self) -> dict[str, Any]:
        """As v1's RunConfiguration has it."""
        refuse("Environment.docker", "Nodes are started by the server.", arguments=self.arguments)
        registry = self.base_image_registry
        return {
            "baseImage": self.base_image,
            "baseDockerfile": self.base_dockerfile,
            "baseImageRegistry": {
                "address": registry.address,
                "username": registry.username,
                "password": registry.password,
            },
            "shmSize": self.shm_size,
        }


@dataclass(slots=True)
class PythonSection:
    """The packages of an environment.

    Attributes:
        conda_dependencies: them.
        user_managed_dependencies: the image has them already.
        interpreter_path: left aside: the environment has its own.
        conda_dependencies_file: a conda environment file, read when a run is submitted.
    """

    conda_dependencies: CondaDependencies = field(default_factory=CondaDependencies)
    user_managed_dependencies: bool = False
    interpreter_path: str | None = None
    conda_dependencies_file: str | None = None

    def to_document(self) -> dict[str, Any]:
        """As v1's RunConfiguration has it."""
        leave_aside(
            "Environment.python", "An environment has its own Python.",
            interpreter_path=self.interpreter_path,
        )  # fmt: skip
        dependencies = self.conda_dependencies
        if self.conda_dependencies_file is not None:
            dependencies = CondaDependencies(self.conda_dependencies_file)
        return {
            "condaDependencies": dependencies.as_dict(),
            "userManagedDependencies": self.user_managed_dependencies,
        }
