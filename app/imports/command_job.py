"""Job bodies of the v2 REST interface: a command with inputs, an environment and a distribution."""

import re
import shlex
from typing import Any, Literal

from app.imports.container_image import Docker, image_of_environment
from app.imports.distribution import JobDistribution, distribution_of_v2
from app.imports.given import Given
from app.imports.packages import CondaFile, environment_of_conda, environment_of_name
from app.imports.placeholders import MAX_COMMAND_LENGTH, Places, filled, is_too_long
from app.imports.translation import Sent, Translation, below

_ASSET = re.compile(
    r"^(?:azureml:(?!//)|azureml://.*/data/|/subscriptions/.*/data/)"
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._ -]*?)"
    r"(?:(?::|/versions/)(?P<version>\d+)|@latest|/labels/latest)?$"
)
_DURATION = re.compile(
    r"^P(?:(?P<days>\d{1,4})D)?(?:T(?:(?P<hours>\d{1,6})H)?(?:(?P<minutes>\d{1,7})M)?"
    r"(?:(?P<seconds>\d{1,8})(?:\.0*)?S)?)?$"
)
_SECONDS = {"days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}
_DATA_TYPES = frozenset({"uri_folder", "uri_file"})
_FOLDER_OUTPUTS = frozenset({"uri_folder", "custom_model", "mlflow_model"})
_OUTPUT_NAME = re.compile(r"^[A-Za-z0-9_-]{1,100}$")
_MODES = {"readonlymount": "mount", "download": "download"}
# Bookkeeping of Azure's, and hints for its own schedulers.
_IGNORED = frozenset(
    {"isArchived", "codeId", "services", "identity", "notificationSetting", "queueSettings",
     "parameters", "status", "autologgerSettings", "componentId", "schema", "name"}
)  # fmt: skip


class JobInput(Sent):
    """A literal or data."""

    job_input_type: str
    value: str | None = None
    uri: str | None = None
    mode: str | None = None
    description: str | None = None


class JobOutput(Sent):
    """A folder that the job writes."""

    job_output_type: str = "uri_folder"
    uri: str | None = None
    mode: str | None = None
    description: str | None = None


class JobEnvironment(Sent):
    """An environment that is described in the job itself."""

    name: str | None = None
    image: str | None = None
    conda_file: CondaFile | str | None = None


class JobLimits(Sent):
    """When a job is ended."""

    job_limits_type: str | None = None
    timeout: str | None = None


class JobResources(Sent):
    """How many machines a job gets."""

    instance_count: int | None = None
    shm_size: str | None = None


class CommandProperties(Sent):
    """What the job is."""

    job_type: Literal["Command"]
    command: str
    display_name: str | None = None
    description: str | None = None
    compute_id: str | None = None
    experiment_name: str | None = None
    environment_id: str | None = None
    environment: JobEnvironment | None = None
    environment_variables: dict[str, str] | None = None
    inputs: dict[str, JobInput] | None = None
    outputs: dict[str, JobOutput | None] | None = None
    distribution: JobDistribution | None = None
    limits: JobLimits | None = None
    resources: JobResources | None = None
    properties: dict[str, str] | None = None
    tags: dict[str, str | None] | None = None


def translate_command_job(value: object, place: str, given: Given) -> Translation:
    """What a v2 job is here.

    Args:
        value: the properties of the job.
        place: where they are in the request.
        given: what only this service knows.

    Raises:
        Invalid: it has not the form of a Command job.
    """
    into = Translation()
    what = CommandProperties.read(value, place)
    into.sort_out(what, place, ignored=_IGNORED)
    _inputs_and_command(what, place, given, into)
    if not given.has_environment and what.environment is not None:
        _own_environment(what.environment, below(place, "environment"), given, into, what)
    elif not given.has_environment and what.environment_id is not None:
        environment_of_name(what.environment_id, below(place, "environmentId"), into)
    elif not given.has_environment:
        message = "The job names no environment; give environment beside job."
        into.refuse(below(place, "environmentId"), "import_unsupported", message)
    if what.compute_id is not None and not given.has_cluster:
        into.put("cluster_name", what.compute_id.split("/")[-1].removeprefix("azureml:"),
                 below(place, "computeId"))  # fmt: skip
    into.put("experiment_name", what.experiment_name or "Default", below(place, "experimentName"))
    for name, value in (
        ("display_name", what.display_name),
        ("description", what.description),
        ("environment_variables", what.environment_variables),
        ("tags", {key: value or "" for key, value in (what.tags or {}).items()}),
        ("properties", what.properties),
    ):
        if value:
            alias = CommandProperties.model_fields[name].alias or name
            into.put(name, value, below(place, alias))
    _limits_and_nodes(what, place, into)
    return into


def _inputs_and_command(
    what: CommandProperties, place: str, given: Given, into: Translation
) -> None:
    literals: dict[str, str] = {}
    folders: dict[str, Any] = {}
    outputs = {
        name: _output(name, value, below(place, "outputs", name), into)
        for name, value in (what.outputs or {}).items()
    }
    for name, value in (what.inputs or {}).items():
        where = below(place, "inputs", name)
        into.sort_out(value, where, ignored=frozenset({"pathOnCompute"}))
        if value.job_input_type == "literal":
            literals[name] = _literal(value, where, into)
        else:
            folders[name] = _data(name, value, where, given, into)
            into.origins[f"/inputs/{name}"] = where
    into.put("inputs", folders, below(place, "inputs"))
    where = below(place, "command")
    places = Places(literals, folders, outputs)
    if is_too_long(what.command, places):
        message = f"With its inputs the command has more than {MAX_COMMAND_LENGTH} characters."
        into.refuse(where, "command_too_long", message)
        return
    command = filled(what.command, where, places, into)
    for path in outputs.values():
        command = f"mkdir -p {shlex.quote(path)} && {command}"
    into.put("command", command, where)


def _literal(value: JobInput, where: str, into: Translation) -> str:
    text = value.value or ""
    if "${{" in text:
        message = "A literal that is itself a template cannot be taken over."
        into.refuse(below(where, "value"), "import_unsupported", message)
    return text


def _data(name: str, value: JobInput, where: str, given: Given, into: Translation) -> Any:
    if value.job_input_type not in _DATA_TYPES:
        message = f"Inputs of type {value.job_input_type!r} have no counterpart here."
        into.refuse(below(where, "jobInputType"), "import_unsupported", message)
        return {}
    mode = _MODES.get((value.mode or "ReadOnlyMount").lower())
    if mode is None:
        message = f"Mode {value.mode!r} has no counterpart here; use ReadOnlyMount or Download."
        into.refuse(below(where, "mode"), "import_unsupported", message)
        return {}
    if value.job_input_type == "uri_file":
        into.warn(
            below(where, "jobInputType"),
            "input_is_a_folder",
            f"Input {name!r} is one file in the job; here its place is the dataset's folder.",
        )
    if name in given.datasets:
        return given.datasets[name] | {"mode": mode}
    asset = _ASSET.match(value.uri or "")
    if asset is None:
        message = (
            f"Register this address as a dataset and name it in datasets beside job: "
            f'"datasets": {{"{name}": {{"dataset": …}}}}.'
        )
        into.refuse(below(where, "uri"), "dataset_needed", message)
        return {}
    version = int(asset["version"]) if asset["version"] else "latest"
    return {"dataset": asset["name"], "version": version, "mode": mode}


def _output(name: str, value: JobOutput | None, where: str, into: Translation) -> str:
    """The folder below ./outputs that stands for a named output."""
    sent = value or JobOutput()
    into.sort_out(sent, where, ignored=frozenset())
    if sent.job_output_type.lower() not in _FOLDER_OUTPUTS:
        message = f"Outputs of type {sent.job_output_type!r} have no counterpart here."
        into.refuse(below(where, "jobOutputType"), "import_unsupported", message)
    if sent.uri:
        message = "An output goes to the run's own files; remove the address and fetch it there."
        into.refuse(below(where, "uri"), "import_unsupported", message)
    if _OUTPUT_NAME.match(name) is None:
        message = "An output's name has letters, digits, '_' and '-' only."
        into.refuse(where, "import_unsupported", message)
    into.warn(
        where, "output_is_a_folder", f"Output {name!r} is ./outputs/{name}, kept with the run."
    )
    return f"outputs/{name}"


def _own_environment(
    sent: JobEnvironment, where: str, given: Given, into: Translation, job: CommandProperties
) -> None:
    into.sort_out(sent, where, ignored=frozenset({"description", "version", "tags", "osType"}))
    if sent.conda_file is None and not sent.image:
        message = "An environment needs an image or a conda_file with its content."
        into.refuse(where, "import_unsupported", message)
        return
    if isinstance(sent.conda_file, str):
        message = "The file itself was not sent; put its content here instead of its name."
        into.refuse(below(where, "condaFile"), "conda_file_missing", message)
        return
    into.moved |= {
        below(where, "docker", "baseImage"): below(where, "image"),
        below(where, "python", "userManagedDependencies"): below(where, "image"),
    }
    # An image alone is said to have everything; with a conda file it is the base.
    image_of_environment(
        Docker(base_image=sent.image), where, given, into, user_managed=sent.conda_file is None
    )
    if sent.conda_file is not None:
        uses_mpi = job.distribution is not None and job.distribution.distribution_type == "Mpi"
        environment_of_conda(
            sent.conda_file, below(where, "condaFile"), into, with_horovod=uses_mpi
        )


def _limits_and_nodes(what: CommandProperties, place: str, into: Translation) -> None:
    if what.limits is not None:
        into.sort_out(what.limits, below(place, "limits"), ignored=frozenset())
    if what.resources is not None:
        ignored = frozenset({"instanceType", "properties", "locations"})
        into.sort_out(what.resources, below(place, "resources"), ignored=ignored)
    if what.limits is not None and what.limits.timeout is not None:
        where = below(place, "limits", "timeout")
        match = _DURATION.match(what.limits.timeout)
        parts = {} if match is None else {k: int(v) for k, v in match.groupdict().items() if v}
        if not parts:
            message = "Write the duration as PT1H30M, in whole seconds at least."
            into.refuse(where, "duration_invalid", message)
        else:
            seconds = sum(_SECONDS[name] * count for name, count in parts.items())
            into.put("max_run_duration_seconds", seconds, where)
    nodes = 1
    if what.resources is not None and what.resources.instance_count is not None:
        nodes = what.resources.instance_count
        into.put("node_count", nodes, below(place, "resources", "instanceCount"))
    if what.resources is not None and what.resources.shm_size:
        into.put("shm_size", what.resources.shm_size, below(place, "resources", "shmSize"))
    if what.distribution is not None:
        distribution_of_v2(what.distribution, nodes, below(place, "distribution"), into)
