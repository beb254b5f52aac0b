"""The job.yml of the v2 command line, put into the form in which v2 clients send a job.

Both say the same with other names, so there is one translation, and a list of where things were.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic.alias_generators import to_camel

from app.imports.translation import JOB, below

PLACE = "#"
"""Where the translation finds the job; it is no place in the request, so ``moved`` has all."""
_RENAMED = {"compute": "computeId", "code": "codeId", "type": "jobType", "$schema": "schema"}
_NEEDED = {"environmentId": "environment", "experimentName": "experiment_name"}
"""What is spoken of where a file does not have it, too."""
_MODES = {"ro_mount": "ReadOnlyMount", "download": "Download", "rw_mount": "ReadWriteMount"}
_DISTRIBUTIONS = {"tensorflow": "TensorFlow", "mpi": "Mpi", "pytorch": "PyTorch"}


@dataclass
class JobFile:
    """A job in the form of the v2 interface.

    Attributes:
        properties: the job.
        moved: the place of each part in the request, by its place below ``PLACE``.
    """

    properties: dict[str, Any] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=lambda: {PLACE: JOB})


def read_job_file(document: Mapping[str, Any]) -> JobFile:
    """Put a job.yml into the form of the v2 interface; what is not known stays as it is."""
    into = JobFile()
    for name, value in document.items():
        renamed = _RENAMED.get(name, to_camel(name))
        if name == "environment" and isinstance(value, str):
            renamed = "environmentId"
        into.moved[below(PLACE, renamed)] = below(JOB, name)
        convert = _PARTS.get(name)
        into.properties[renamed] = (
            convert(value, below(PLACE, renamed), below(JOB, name), into) if convert else value
        )
    for renamed, name in _NEEDED.items():
        into.moved.setdefault(below(PLACE, renamed), below(JOB, name))
    into.properties["jobType"] = str(document.get("type", "command")).capitalize()
    return into


_Convert = Callable[[Any, str, str, JobFile], Any]


def _part(
    value: Any, place: str, sent: str, into: JobFile, names: Mapping[str, str] | None = None
) -> Any:
    """An object whose names become those of the interface."""
    if not isinstance(value, dict):
        return value
    renamed = {name: (names or {}).get(str(name), to_camel(str(name))) for name in value}
    for name, new in renamed.items():
        into.moved[below(place, new)] = below(sent, name)
    return {renamed[name]: item for name, item in value.items()}


def _distribution(value: Any, place: str, sent: str, into: JobFile) -> Any:
    part = _part(value, place, sent, into, {"type": "distributionType"})
    if isinstance(part, dict):
        kind = str(part.get("distributionType"))
        part["distributionType"] = _DISTRIBUTIONS.get(kind.lower(), kind)
    return part


def _limits(value: Any, place: str, sent: str, into: JobFile) -> Any:
    part = _part(value, place, sent, into)
    if isinstance(part, dict) and isinstance(part.get("timeout"), int):
        part["timeout"] = f"PT{part['timeout']}S"
    return part


def _inputs(value: Any, place: str, sent: str, into: JobFile) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: _input(item, below(place, name), below(sent, name), into)
        for name, item in value.items()
    }


def _input(value: Any, place: str, sent: str, into: JobFile) -> Any:
    if not isinstance(value, dict):
        into.moved[below(place, "value")] = sent
        return {"jobInputType": "literal", "value": "" if value is None else str(value)}
    names = {"type": "jobInputType", "path": "uri"}
    part: dict[str, Any] = _part(value, place, sent, into, names)
    if "mode" in part:
        part["mode"] = _MODES.get(str(part["mode"]), part["mode"])
    return {"jobInputType": "uri_folder"} | part


def _outputs(value: Any, place: str, sent: str, into: JobFile) -> Any:
    if not isinstance(value, dict):
        return value
    names = {"type": "jobOutputType", "path": "uri"}
    return {
        name: _part(item, below(place, name), below(sent, name), into, names)
        for name, item in value.items()
    }


def _texts(value: Any, _place: str, _sent: str, _into: JobFile) -> Any:
    """Values that the interface knows as text only; a file says ``1`` as well."""
    if not isinstance(value, dict):
        return value
    return {name: item if item is None else str(item) for name, item in value.items()}


_PARTS: dict[str, _Convert] = {
    "distribution": _distribution,
    "environment": _part,
    "environment_variables": _texts,
    "inputs": _inputs,
    "limits": _limits,
    "outputs": _outputs,
    "properties": _texts,
    "resources": _part,
    "tags": _texts,
}
