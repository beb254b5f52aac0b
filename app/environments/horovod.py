"""Horovod as part of an environment: which versions go together; pure functions.

The package index has Horovod as source only, and what it is compiled against it has to run with. So
it is compiled once for each combination, here. Each row of the table was compiled, imported and
trained with on two ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from app.environments.errors import HorovodUnsupported
from app.environments.frameworks import TENSORFLOW_NAMES, matching_series, series_allowed_by
from app.environments.resolved import Machine, ResolvedSpec
from app.environments.spec import EnvironmentSpec
from app.kernel.errors import FieldError

NAME = "horovod"
VERSION = "0.28.1"
SOURCE_SHA256 = "92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0"
BUILD_REQUIREMENTS = (
    "cffi", "cloudpickle", "cmake==3.25.2", "numpy<2", "packaging", "pip", "psutil", "pyyaml",
    "setuptools<70", "wheel",
)  # fmt: skip
BUILD_VARIABLES = {
    "HOROVOD_WITH_TENSORFLOW": "1",
    "HOROVOD_WITHOUT_PYTORCH": "1",
    "HOROVOD_WITHOUT_MXNET": "1",
    "HOROVOD_WITH_MPI": "1",
    "HOROVOD_WITH_GLOO": "1",
}
# What the wheel asks for; it is installed alone, so that it cannot change the framework.
_COMPANIONS = ("cloudpickle", "packaging", "psutil", "pyyaml")
_PATCHES_TRIED = 9


@dataclass(frozen=True)
class Tested:
    """A TensorFlow series that Horovod works with.

    Attributes:
        number: of the series.
        version: the release that it was tested with, and that a request for the series gets.
        pythons: minor versions that it was tested with, the newest first.
    """

    number: tuple[int, int]
    version: str
    pythons: tuple[str, ...] = ("3.11",)


TABLE = (
    Tested((2, 15), "2.15.1"),
    Tested((2, 14), "2.14.1"),
    Tested((2, 13), "2.13.1"),
    Tested((2, 12), "2.12.1"),
)


def supported() -> str:
    """The table in words."""
    rows = (f"TensorFlow {one.version} (Python {', '.join(one.pythons)})" for one in TABLE)
    return ", ".join(rows)


def is_wanted(spec: EnvironmentSpec) -> bool:
    """Whether the environment lists Horovod."""
    return any(Requirement(line).name == NAME for line in spec.pip_packages)


def has_tensorflow(spec: EnvironmentSpec) -> bool:
    """Whether the environment has TensorFlow, as its framework or among its packages."""
    named = (Requirement(line).name for line in spec.pip_packages)
    return spec.framework == "tensorflow" or any(name in TENSORFLOW_NAMES for name in named)


def narrowed(
    spec: EnvironmentSpec, machine: Machine, *, pointer: str
) -> tuple[EnvironmentSpec, Machine]:
    """An environment that lists Horovod as one without it, for which there can be only the right
    TensorFlow and Python; and the machine with those Pythons alone.

    Raises:
        HorovodUnsupported: Horovod does not work with what is asked for.
    """
    named = [Requirement(line) for line in spec.pip_packages]
    for line, requirement in zip(spec.pip_packages, named, strict=True):
        if requirement.name == NAME and not requirement.specifier.contains(VERSION):
            place = f"{pointer}/pip_packages/{spec.pip_packages.index(line)}"
            _refuse(place, f"{line} cannot be had; Horovod is there in version {VERSION}.")
    frameworks = [one for one in named if one.name in TENSORFLOW_NAMES]
    if spec.framework is None and not frameworks:
        _refuse(f"{pointer}/framework", "Horovod is there for TensorFlow only; name it as well.")
    if spec.user_managed:
        _refuse(pointer, "Nothing is installed in this image; bring Horovod with it.")
    others = [
        line
        for line, requirement in zip(spec.pip_packages, named, strict=True)
        if requirement.name != NAME
    ]
    chosen, version = _choose(spec, [one.specifier for one in frameworks], machine, pointer)
    narrow = spec.model_copy(
        update={
            "framework": "tensorflow",
            "framework_version": version,
            "pip_packages": sorted({*others, *_missing(_COMPANIONS, others)}),
        }
    )
    pythons = [one for one in machine.interpreters if one.minor_name in chosen.pythons]
    return narrow, replace(machine, interpreters=pythons)


def framework_requirement(spec: ResolvedSpec) -> str:
    """The TensorFlow of the environment, exactly; ``tensorflow-cpu==2.15.1``."""
    names = (Requirement(line).name for line in spec.requirements)
    name = next(name for name in names if name in TENSORFLOW_NAMES)
    return f"{name}=={spec.framework_version}"


def wheel_key(spec: ResolvedSpec, *, system: str) -> str:
    """Under which a compiled Horovod is kept; whatever may share it has the same key.

    Args:
        spec: an environment with Horovod.
        system: what it is compiled on, e.g. ``debian-12``; settles C library, compiler and MPI.
    """
    framework = framework_requirement(spec).replace("==", "-")
    python = f"python{spec.python_version}"
    return "-".join((NAME, VERSION, framework, python, spec.platform_name, system))


def _choose(
    spec: EnvironmentSpec, specifiers: Sequence[SpecifierSet], machine: Machine, pointer: str
) -> tuple[Tested, str]:
    """The newest row, and version, that is wanted and for which there is a Python here."""
    allowed = {one.number for one in matching_series(spec.framework_version)}
    for specifier in specifiers:
        allowed &= {one.number for one in series_allowed_by(specifier)}
    rows = [one for one in TABLE if one.number in allowed]
    here = {one.minor_name for one in machine.interpreters}
    for row in rows:
        version = _version(row, spec.framework_version, specifiers)
        pythons = set(row.pythons) & (
            here if spec.python_version is None else {spec.python_version}
        )
        if version is not None and pythons:
            return row, version
    if not rows:
        what = spec.framework_version or ", ".join(str(one) for one in specifiers)
        _refuse(f"{pointer}/framework_version", f"Horovod does not work with TensorFlow {what}.")
    wanted = spec.python_version or ", ".join(sorted(here)) or "none"
    _refuse(f"{pointer}/python_version", f"Horovod was not tested with this Python ({wanted}).")
    raise AssertionError("unreachable")


def _version(row: Tested, asked: str | None, specifiers: Sequence[SpecifierSet]) -> str | None:
    if asked is not None and asked.count(".") > 1:
        return asked
    major, minor = row.number
    patches = [f"{major}.{minor}.{patch}" for patch in range(_PATCHES_TRIED)]
    for version in (row.version, *patches):
        if all(specifier.contains(version) for specifier in specifiers):
            return version
    return None


def _missing(names: Sequence[str], lines: Sequence[str]) -> list[str]:
    there = {Requirement(line).name for line in lines}
    return [name for name in names if name not in there]


def _refuse(pointer: str, message: str) -> None:
    whole = f"{message} It works with {supported()}."
    error = FieldError(pointer=pointer, code=HorovodUnsupported.code, message=whole)
    extensions = {"available_framework_versions": [one.version for one in TABLE]}
    raise HorovodUnsupported(whole, errors=[error], extensions=extensions)
