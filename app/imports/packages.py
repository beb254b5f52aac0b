"""Packages and environment names of Azure ML documents as an environment here."""

import re
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from app.environments.frameworks import TENSORFLOW_NAMES
from app.imports.translation import Sent, Translation, below

# Azure's own: they speak to Azure's services, or only serve to install one another.
_AZURE = re.compile(r"^(azureml[-_.][a-z0-9._-]+|azure-ml[a-z0-9._-]*|inference-schema)", re.I)
# The real client reports here as well (see docs/scripts.md), so who names it keeps it.
_KEPT = frozenset({"azureml-core"})
_PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9_.-]+)(?P<extra>\[and-cuda\])?\s*==\s*"
    r"(?P<version>\d+(\.\d+){0,2}(\.post\d+)?)(\.\*)?$"
)
_PYTHON = re.compile(r"^python\s*={1,2}\s*(3\.\d+(\.\d+)?)(\.\*)?$")
_PIP_ITSELF = re.compile(r"^pip\s*([=<>~!].*)?$")
_CURATED = re.compile(r"^azureml-tensorflow-(?P<version>\d+\.\d+)(?P<rest>[-.].*)?$", re.I)
_CURATED_PYTHON = re.compile(r"-py3(\d{1,2})(-|$)")
_ENVIRONMENT = re.compile(
    r"^(?:azureml:(?://)?)?(?:[^:]*/environments/)?(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)"
    r"(?:/(?:versions|labels)/[^/]+|[:@][A-Za-z0-9._-]+)?$"
)


class CondaFile(Sent):
    """The content of a conda environment file."""

    channels: list[str] = Field(default_factory=list)
    dependencies: list[str | dict[str, list[str]]] = Field(default_factory=list)


def environment_of_conda(
    conda: CondaFile, pointer: str, into: Translation, *, with_horovod: bool
) -> None:
    """Write the environment of a conda file into the run.

    Args:
        conda: the file.
        pointer: where it is in the document.
        into: the translation that is being made.
        with_horovod: whether Horovod is used; Azure's client names it in every environment, and
            where there is no MPI it cannot even be built.

    """
    environment: dict[str, Any] = {}
    origins: dict[str, str] = {}
    conda_packages: list[str] = []
    pip_packages: list[str] = []
    dropped: list[str] = []
    for installer, line, where in _lines(conda, pointer, into):
        python = _PYTHON.match(line) if installer == "conda" else None
        if python is not None:
            environment["python_version"] = python[1]
            origins["python_version"] = where
        elif installer == "conda":
            if not _PIP_ITSELF.match(line):
                origins[f"conda_packages/{len(conda_packages)}"] = where
                conda_packages.append(line)
        elif _is_azures(line) or (not with_horovod and _name(line) == "horovod"):
            dropped.append(line)
        elif not _take_framework(line, where, environment, origins):
            origins[f"pip_packages/{len(pip_packages)}"] = where
            pip_packages.append(_unpinned_horovod(line, where, into))
    if conda_packages:
        environment |= {"conda_packages": conda_packages, "conda_channels": conda.channels}
        origins["conda_channels"] = below(pointer, "channels")
    environment["pip_packages"] = pip_packages
    if dropped:
        into.warn(
            below(pointer, "dependencies"),
            "azure_packages_dropped",
            f"Left out, as they only serve inside Azure, or with MPI: {', '.join(dropped)}.",
        )
    into.put("environment", into.run.get("environment", {}) | environment, pointer)
    into.origins |= {f"/environment/{name}": place for name, place in origins.items()}


def environment_of_name(text: str, pointer: str, into: Translation) -> None:
    """Write the environment that a document names into the run.

    Azure's curated TensorFlow environments become the framework version in their name; another
    name is that of an environment in this workspace.
    """
    match = _ENVIRONMENT.match(text)
    if match is None:
        message = "This names no environment; give environment or environment_name beside job."
        into.refuse(pointer, "import_unsupported", message)
        return
    name = match["name"]
    curated = _CURATED.match(name)
    if curated is None:
        if name.lower().startswith(("azureml-", "microsoft")):
            message = (
                f"What Azure's environment {name!r} holds is not known here; give environment "
                "or environment_name beside job."
            )
            into.refuse(pointer, "unknown_curated_environment", message)
            return
        into.put("environment_name", name, pointer)
        return
    rest = curated["rest"] or ""
    environment: dict[str, Any] = {
        "framework": "tensorflow",
        "framework_version": curated["version"],
        "use_gpu": "cuda" in rest.lower() or "gpu" in rest.lower(),
    }
    python = _CURATED_PYTHON.search(rest)
    if python is not None:
        environment["python_version"] = f"3.{python[1]}"
    into.put("environment", environment, pointer)
    into.warn(
        pointer,
        "curated_environment",
        f"Azure's environment {name} became TensorFlow {curated['version']}; name further "
        "packages that the script needs in an environment of your own.",
    )


def _lines(conda: CondaFile, pointer: str, into: Translation) -> Iterator[tuple[str, str, str]]:
    """Installer, line and place of everything in the file."""
    for index, item in enumerate(conda.dependencies):
        place = below(pointer, "dependencies", index)
        if isinstance(item, str):
            yield "conda", item, place
            continue
        for installer, lines in item.items():
            if installer != "pip":
                message = f"Packages of {installer!r} cannot be installed; use pip or conda."
                into.refuse(below(place, installer), "import_unsupported", message)
                continue
            for number, line in enumerate(lines):
                yield installer, line, below(place, installer, number)


def _name(line: str) -> str:
    return re.split(r"[\[=<>!~; ]", line.strip(), maxsplit=1)[0].lower().replace("_", "-")


def _unpinned_horovod(line: str, where: str, into: Translation) -> str:
    """Azure's client pins a release of its own time, asked or not; another line stays."""
    if _name(line) != "horovod" or line.strip() == "horovod":
        return line
    into.warn(where, "horovod_version", f"{line} became the Horovod that is compiled here.")
    return "horovod"


def _is_azures(line: str) -> bool:
    name = _name(line)
    return name not in _KEPT and _AZURE.match(name) is not None


def _take_framework(
    line: str, where: str, environment: dict[str, Any], origins: dict[str, str]
) -> bool:
    pinned = _PINNED.match(line.strip())
    if pinned is None or "framework" in environment:
        return False
    name = pinned["name"].lower().replace("_", "-")
    if name not in TENSORFLOW_NAMES:
        return False
    environment |= {
        "framework": "tensorflow",
        "framework_version": pinned["version"],
        "use_gpu": name == "tensorflow-gpu" or pinned["extra"] is not None,
    }
    origins |= dict.fromkeys(("framework", "framework_version", "use_gpu"), where)
    return True
