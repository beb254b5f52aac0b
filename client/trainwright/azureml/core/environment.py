"""Environments: packages, image, variables; named in the workspace once they are registered."""

import builtins
import re
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from trainwright.azureml._unsupported import leave_aside, refuse
from trainwright.azureml.core.conda_dependencies import CondaDependencies
from trainwright.azureml.core.environment_sections import DockerSection, PythonSection
from trainwright.azureml.exceptions import (
    NotSupported,
    ServiceException,
    UserErrorException,
    raised_as,
)

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace

_CURATED = re.compile(r"^azureml-tensorflow-(?P<version>\d+\.\d+)(?P<rest>[-.].*)?$", re.I)


class Environment:
    """What is installed where a run executes.

    Args:
        name: its name.

    Attributes:
        docker: the image.
        python: the packages.
        environment_variables: what the run finds set.
        version: once it is registered.
    """

    __slots__ = ("_registered", "docker", "environment_variables", "name", "python", "version")

    def __init__(self, name: str) -> None:
        self.name = name
        self.version: str | None = None
        self.docker = DockerSection()
        self.python = PythonSection()
        self.environment_variables: dict[str, str] = {}
        self._registered: dict[str, Any] | None = None

    @staticmethod
    def from_conda_specification(name: str, file_path: str) -> "Environment":
        """Make one of a conda environment file."""
        made = Environment(name)
        made.python.conda_dependencies = CondaDependencies(file_path)
        return made

    @staticmethod
    def from_pip_requirements(
        name: str, file_path: str, pip_version: str | None = None
    ) -> "Environment":
        """Make one of a file of pip's requirements."""
        leave_aside("Environment.from_pip_requirements", "uv installs.", pip_version=pip_version)
        made = Environment(name)
        for line in requirements_of(file_path):
            made.python.conda_dependencies.add_pip_package(line)
        return made

    @staticmethod
    def from_docker_image(
        name: str,
        image: str,
        container_registry: Any = None,
        conda_specification: str | None = None,
        pip_requirements: str | None = None,
    ) -> "Environment":
        """Make one on an image of one's own; without packages, the image has them already."""
        made = Environment(name)
        made.docker.base_image = image
        if container_registry is not None:
            made.docker.base_image_registry = container_registry
        if conda_specification is not None:
            made.python.conda_dependencies = CondaDependencies(conda_specification)
        elif pip_requirements is not None:
            for line in requirements_of(pip_requirements):
                made.python.conda_dependencies.add_pip_package(line)
        else:
            made.python.user_managed_dependencies = True
        return made

    @staticmethod
    def from_dockerfile(
        name: str,
        dockerfile: str,
        conda_specification: str | None = None,
        pip_requirements: str | None = None,
    ) -> "Environment":
        """Make one on a Dockerfile: its text, or the path of one."""
        made = Environment.from_docker_image(name, "", None, conda_specification, pip_requirements)
        is_text = "\n" in dockerfile or dockerfile.lstrip().upper().startswith("FROM ")
        made.docker.base_image = None
        made.docker.base_dockerfile = (
            dockerfile if is_text else Path(dockerfile).read_text(encoding="utf-8")
        )
        return made

    @staticmethod
    def from_existing_conda_environment(name: str, conda_environment_name: str) -> NoReturn:
        """Refuse, and say what to do instead.

        Raises:
            NotSupported: always.
        """
        raise NotSupported(
            "Environment.from_existing_conda_environment: export it (`conda env export --from-"
            "history > environment.yml`) and use from_conda_specification."
        )

    @staticmethod
    def get(workspace: "Workspace", name: str, version: str | None = None) -> "Environment":
        """Return a registered environment; of Azure's curated ones, those of TensorFlow.

        Raises:
            UserErrorException: there is none.
        """
        leave_aside("Environment.get", "An environment here has one version.", version=version)
        curated = _CURATED.match(name)
        if curated is not None:
            return _curated(name, curated["version"], curated["rest"] or "")
        connection = workspace.connection
        with raised_as(EnvironmentRefused):
            read = connection.get(connection.path("environments", name))
        return _from_api(read)

    @staticmethod
    def list(workspace: "Workspace") -> dict[str, "Environment"]:
        """Return all registered environments by name."""
        connection = workspace.connection
        with raised_as(EnvironmentRefused):
            found = list(connection.pages(connection.path("environments")))
        return {read["name"]: _from_api(read) for read in found}

    def register(self, workspace: "Workspace") -> "Environment":
        """Give it its name in the workspace, for this and other runs.

        Raises:
            UserErrorException: something in it cannot be had at the server.
        """
        connection = workspace.connection
        # The server alone knows what becomes of Azure's documents, so it is asked.
        question = {
            "job": {"Configuration": {"script": "-", "environment": self.to_document()}},
            "snapshot_id": "-",
            "experiment_name": "registering",
            "cluster_name": "registering",
        }
        with raised_as(EnvironmentRefused):
            report = connection.post(
                connection.path("runs", "import"), question, params={"validate_only": True}
            )
            if report["run"] is None:
                raise UserErrorException(
                    "\n".join(
                        f"{one['pointer'].removeprefix('/job/Configuration')}: {one['message']}"
                        for one in report["notes"]
                        if one["kind"] == "unsupported"
                    )
                )
            spec = report["run"].get("environment", {})
            spec["environment_variables"] = report["run"].get("environment_variables", {})
            connection.put(connection.path("environments", self.name), spec)
        self.version = "1"
        self._registered = deepcopy(self.to_document())
        return self

    def registered_name(self) -> str | None:
        """Its name in the workspace, unless it was changed since it was registered or read."""
        return self.name if self._registered == self.to_document() else None

    def clone(self, new_name: str) -> "Environment":
        """A copy under another name."""
        made = deepcopy(self)
        made.name, made.version, made._registered = new_name, None, None
        return made

    def build(self, workspace: "Workspace", image_build_compute: Any = None) -> NoReturn:
        """Refuse, and say what to do instead.

        Raises:
            NotSupported: always.
        """
        raise NotSupported(
            "Environment.build: an environment is built by the first run that needs it, and kept."
        )

    def to_document(self) -> dict[str, Any]:
        """The environment as v1's RunConfiguration has it."""
        return {
            "name": self.name,
            "environmentVariables": dict(self.environment_variables),
            "python": self.python.to_document(),
            "docker": self.docker.to_document(),
        }

    def __repr__(self) -> str:
        return f"Environment(name={self.name!r}, version={self.version!r})"


class EnvironmentRefused(ServiceException, UserErrorException):
    """The server refuses an environment, or has none of that name."""


def requirements_of(path: str) -> builtins.list[str]:
    """The lines of a file of pip's requirements.

    Raises:
        UserErrorException: it cannot be read, or names other files and indexes.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserErrorException(f"{path} cannot be read: {error}") from None
    lines = [line.split(" #")[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    for line in lines:
        refuse(path, "Only packages can be had from it.", **{line: line.startswith("-")})
    return lines


def _curated(name: str, version: str, rest: str) -> Environment:
    made = Environment(name)
    is_gpu = "cuda" in rest.lower() or "gpu" in rest.lower()
    made.python.conda_dependencies.add_tensorflow_pip_package("gpu" if is_gpu else "cpu", version)
    python = re.search(r"-py3(\d{1,2})(-|$)", rest)
    if python is not None:
        made.python.conda_dependencies.set_python_version(f"3.{python[1]}")
    return made


def _from_api(read: dict[str, Any]) -> Environment:
    spec = read.get("spec") or read
    made = Environment(read["name"])
    made.version = "1"
    made.environment_variables = dict(spec.get("environment_variables") or {})
    made.docker.base_image = spec.get("base_image")
    made.docker.base_dockerfile = spec.get("dockerfile")
    made.python.user_managed_dependencies = bool(spec.get("user_managed"))
    conda = made.python.conda_dependencies
    if spec.get("python_version"):
        conda.set_python_version(spec["python_version"])
    if spec.get("framework") == "tensorflow":
        core = "gpu" if spec.get("use_gpu") else "cpu"
        conda.add_tensorflow_pip_package(core, spec.get("framework_version"))
    for package in spec.get("pip_packages") or []:
        conda.add_pip_package(package)
    for package in spec.get("conda_packages") or []:
        conda.add_conda_package(package)
    for channel in spec.get("conda_channels") or []:
        conda.add_channel(channel)
    made._registered = deepcopy(made.to_document())
    return made
