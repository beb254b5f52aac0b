"""Submit bodies of the v1 SDK: a ``RunConfiguration`` with a script, an environment and data."""

from typing import Any

from pydantic import Field

from app.imports.container_image import IGNORED_OF_DOCKER, Docker, image_of_environment
from app.imports.distribution import Parallel, distribution_of_v1
from app.imports.given import Given
from app.imports.packages import CondaFile, environment_of_conda
from app.imports.translation import Sent, Translation, below

_DATASET = "DatasetConsumptionConfig:"
# Settings of machines and services that only Azure has; what they hold changes nothing here.
_IGNORED = frozenset(
    {
        "amlcompute", "autoClusterComputeSpecification", "batchai", "cmk8sCompute",
        "commandReturnCodeConfig", "containerInstance", "credentialPassthrough", "datacaches",
        "framework", "globalArguments", "hdi", "history", "identity",
        "kubernetescompute", "paralleltask", "priority", "sourceDirectoryDataStore", "spark",
        "virtualCluster",
    }
)  # fmt: skip
_IGNORED_OF_ENVIRONMENT = frozenset(
    {"assetId", "databricks", "environmentVariables", "inferencingStackVersion", "name", "version"}
)


class Python(Sent):
    """The Python of an environment."""

    conda_dependencies: CondaFile | None = None
    conda_dependencies_file: str | None = None
    user_managed_dependencies: bool = False


class Spark(Sent):
    """What Spark brings."""

    packages: list[Any] = Field(default_factory=list)


class Environment(Sent):
    """An environment."""

    name: str | None = None
    environment_variables: dict[str, str | int | float | bool] | None = None
    python: Python | None = None
    docker: Docker | None = None
    spark: Spark | None = None
    r: dict[str, Any] | None = None


class DatasetReference(Sent):
    """A registered dataset."""

    id: str | None = None
    name: str | None = None
    version: int | str | None = None


class DataLocation(Sent):
    """Where data is."""

    dataset: DatasetReference | None = None


class Data(Sent):
    """Data that the script reads."""

    data_location: DataLocation | None = None
    mechanism: str = "mount"
    path_on_compute: str | None = None


class RunConfiguration(Parallel):
    """What is to be run, where and with what."""

    script: str | None = None
    command: str | list[str] | None = None
    arguments: list[str | int | float] = Field(default_factory=list)
    target: str | None = None
    max_run_duration_seconds: int | None = None
    docker: Docker | None = None
    environment: Environment | None = None
    environment_variables: dict[str, str | int | float | bool] | None = None
    data: dict[str, Data] = Field(default_factory=dict)


def translate_run_configuration(value: object, pointer: str, given: Given) -> Translation:
    """What a v1 run configuration is here.

    Args:
        value: the configuration.
        pointer: where it is in the request.
        given: what only this service knows.

    Raises:
        Invalid: it has not the form of a configuration.
    """
    what = RunConfiguration.read(value, pointer)
    into = Translation()
    into.sort_out(what, pointer, ignored=_IGNORED)
    if what.docker is not None:
        where = below(pointer, "docker")
        into.sort_out(what.docker, where, ignored=IGNORED_OF_DOCKER)
    if what.docker is not None and what.docker.shm_size:
        into.put("shm_size", what.docker.shm_size, below(pointer, "docker", "shmSize"))
    _program(what, pointer, given, into)
    if what.target is not None and not given.has_cluster:
        into.put("cluster_name", what.target, below(pointer, "target"))
    if what.max_run_duration_seconds is not None:
        into.put("max_run_duration_seconds", what.max_run_duration_seconds,
                 below(pointer, "maxRunDurationSeconds"))  # fmt: skip
    _environment(what, pointer, given, into)
    distribution_of_v1(what, pointer, into)
    return into


def _program(what: RunConfiguration, pointer: str, given: Given, into: Translation) -> None:
    inputs = {
        name: _input(name, data, below(pointer, "data", name), given, into)
        for name, data in what.data.items()
    }
    arguments: list[Any] = []
    for index, argument in enumerate(what.arguments):
        where = below(pointer, "arguments", index)
        if isinstance(argument, str) and argument.startswith(_DATASET):
            name = argument.removeprefix(_DATASET)
            if name not in inputs:
                message = f"The configuration's data has no {name!r}."
                into.refuse(where, "unknown_placeholder", message)
                continue
            arguments.append(inputs[name] | {"name": name})
            into.origins[f"/arguments/{index}"] = below(pointer, "data", name)
        else:
            arguments.append(argument)
    into.put("arguments", arguments, below(pointer, "arguments"))
    into.put("inputs", inputs, below(pointer, "data"))
    into.origins |= {f"/inputs/{name}": below(pointer, "data", name) for name in inputs}
    if what.command:
        into.put("command", what.command, below(pointer, "command"))
    else:
        into.put("entry_script", what.script, below(pointer, "script"))


def _input(name: str, data: Data, where: str, given: Given, into: Translation) -> dict[str, Any]:
    mode = data.mechanism.lower()
    if mode not in ("mount", "download"):
        message = f"{data.mechanism!r} has no counterpart here; use mount or download."
        into.refuse(below(where, "mechanism"), "import_unsupported", message)
    how = {"mode": mode, "path_on_compute": data.path_on_compute}
    if name in given.datasets:
        return given.datasets[name] | how
    dataset = data.data_location.dataset if data.data_location is not None else None
    if dataset is None or dataset.name is None:
        message = (
            f"This names no registered dataset; name one of this workspace in datasets beside "
            f'job: "datasets": {{"{name}": {{"dataset": …}}}}.'
        )
        into.refuse(below(where, "dataLocation"), "dataset_needed", message)
        return {}
    version = dataset.version or "latest"
    if isinstance(version, str) and version.isascii() and version.isdigit():
        version = int(version)
    return {"dataset": dataset.name, "version": version} | how


def _environment(what: RunConfiguration, pointer: str, given: Given, into: Translation) -> None:
    sent = what.environment or Environment()
    where = below(pointer, "environment")
    variables = (sent.environment_variables or {}) | (what.environment_variables or {})
    if variables:
        into.put("environment_variables", {key: str(value) for key, value in variables.items()},
                 below(where, "environmentVariables"))  # fmt: skip
    if sent.docker is not None and sent.docker.shm_size:
        into.put("shm_size", sent.docker.shm_size, below(where, "docker", "shmSize"))
    if given.has_environment or what.environment is None:
        return
    into.sort_out(sent, where, ignored=_IGNORED_OF_ENVIRONMENT)
    _refuse_what_cannot_be(sent, where, into)
    python = sent.python or Python()
    ignored = frozenset({"interpreterPath", "baseCondaEnvironment"})
    into.sort_out(python, below(where, "python"), ignored=ignored)
    has_all = image_of_environment(
        sent.docker or Docker(), where, given, into, user_managed=python.user_managed_dependencies
    )
    conda = python.conda_dependencies
    if conda is not None and not has_all:
        environment_of_conda(
            conda, below(where, "python", "condaDependencies"), into, with_horovod=what.uses_mpi()
        )


def _refuse_what_cannot_be(sent: Environment, where: str, into: Translation) -> None:
    python = sent.python or Python()
    advice = "give environment or environment_name beside job"
    found = (
        (python.conda_dependencies is None and bool(python.conda_dependencies_file),
         ("python", "condaDependenciesFile"), f"The file itself was not sent; {advice}."),
        (bool(sent.spark and sent.spark.packages), ("spark", "packages"),
         f"There is no Spark here; {advice}."),
        (bool(sent.r), ("r",), f"There is no R here; {advice}."),
    )  # fmt: skip
    for is_wrong, names, message in found:
        if is_wrong:
            into.refuse(below(where, *names), "import_unsupported", message)
