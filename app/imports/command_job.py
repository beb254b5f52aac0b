"""Job bodies of the v2 REST interface: a command with inputs, an environment and a distribution."""

import re
from typing import Any, Literal

from app.imports.distribution import JobDistribution, distribution_of_v2
from app.imports.given import Given
from app.imports.packages import environment_of_name
from app.imports.translation import Sent, Translation, below
from app.kernel.errors import invalid_field

_PLACE = re.compile(r"\$\{\{\s*(?P<kind>[A-Za-z_]+)\.(?P<name>[A-Za-z0-9_.-]+)\s*\}\}")
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
_MODES = {"readonlymount": "mount", "download": "download"}
# Bookkeeping of Azure's, and hints for its own schedulers.
_IGNORED = frozenset(
    {"isArchived", "codeId", "services", "identity", "notificationSetting", "queueSettings",
     "parameters", "status", "autologgerSettings", "componentId"}
)  # fmt: skip


class JobInput(Sent):
    """A literal or data."""

    job_input_type: str
    value: str | None = None
    uri: str | None = None
    mode: str | None = None
    description: str | None = None


class JobLimits(Sent):
    """When a job is ended."""

    job_limits_type: str | None = None
    timeout: str | None = None


class JobResources(Sent):
    """How many machines a job gets."""

    instance_count: int | None = None
    instance_type: str | None = None
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
    environment_variables: dict[str, str] | None = None
    inputs: dict[str, JobInput] | None = None
    outputs: dict[str, Any] | None = None
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
        Invalid: something in it has no counterpart; the pointer names it.
    """
    into = Translation()
    what = CommandProperties.read(value, place)
    what.refuse_unknown(place, ignored=_IGNORED)
    _inputs_and_command(what, place, given, into)
    if not given.has_environment:
        if what.environment_id is None:
            message = "The job names no environment; give environment beside job."
            raise invalid_field(below(place, "environmentId"), "import_unsupported", message)
        environment_of_name(what.environment_id, below(place, "environmentId"), into)
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
    if what.outputs:
        name = next(iter(what.outputs))
        message = "Named outputs have no counterpart here; write to ./outputs, which is kept."
        raise invalid_field(below(place, "outputs", name), "import_unsupported", message)
    literals: dict[str, str] = {}
    folders: dict[str, Any] = {}
    for name, value in (what.inputs or {}).items():
        where = below(place, "inputs", name)
        value.refuse_unknown(where, ignored=frozenset({"pathOnCompute"}))
        if value.job_input_type == "literal":
            literals[name] = _literal(value, where)
        else:
            folders[name] = _data(name, value, where, given, into)
            into.origins[f"/inputs/{name}"] = where
    into.put("inputs", folders, below(place, "inputs"))
    into.put("command", _filled(what.command, below(place, "command"), literals, folders),
             below(place, "command"))  # fmt: skip


def _literal(value: JobInput, where: str) -> str:
    text = value.value or ""
    if "${{" in text:
        message = "A literal that is itself a template cannot be taken over."
        raise invalid_field(below(where, "value"), "import_unsupported", message)
    return text


def _data(name: str, value: JobInput, where: str, given: Given, into: Translation) -> Any:
    if value.job_input_type not in _DATA_TYPES:
        message = f"Inputs of type {value.job_input_type!r} have no counterpart here."
        raise invalid_field(below(where, "jobInputType"), "import_unsupported", message)
    mode = _MODES.get((value.mode or "ReadOnlyMount").lower())
    if mode is None:
        message = f"Mode {value.mode!r} has no counterpart here; use ReadOnlyMount or Download."
        raise invalid_field(below(where, "mode"), "import_unsupported", message)
    if value.job_input_type == "uri_file":
        into.warn(
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
        raise invalid_field(below(where, "uri"), "dataset_needed", message)
    version = int(asset["version"]) if asset["version"] else "latest"
    return {"dataset": asset["name"], "version": version, "mode": mode}


def _filled(command: str, where: str, literals: dict[str, str], folders: dict[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match["name"]
        if match["kind"] == "inputs" and name in literals:
            return literals[name]
        if match["kind"] == "inputs" and name in folders:
            return f"${{{{inputs.{name}}}}}"
        message = f"{match[0]} names nothing that this job has."
        raise invalid_field(where, "unknown_placeholder", message)

    return _PLACE.sub(value, command)


def _limits_and_nodes(what: CommandProperties, place: str, into: Translation) -> None:
    if what.limits is not None and what.limits.timeout is not None:
        where = below(place, "limits", "timeout")
        match = _DURATION.match(what.limits.timeout)
        parts = {} if match is None else {k: int(v) for k, v in match.groupdict().items() if v}
        if not parts:
            message = "Write the duration as PT1H30M, in whole seconds at least."
            raise invalid_field(where, "duration_invalid", message)
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
