"""From what a user asked for to what exactly is built, or an error that says what can be had."""

import sys
from dataclasses import replace

from packaging.requirements import Requirement

from app.environments import horovod
from app.environments.errors import CondaUnavailable, FrameworkUnavailable, PythonUnavailable
from app.environments.frameworks import (
    TENSORFLOW_NAMES,
    Series,
    known_series,
    matching_series,
    package_name,
    series_allowed_by,
    version_specifier,
)
from app.environments.image_names import digest_in
from app.environments.own_bases import (
    check_needs_no_image,
    check_own_base,
    on_own_base,
    with_every_python,
)
from app.environments.ranks import add_mpi
from app.environments.resolved import IMAGE_KIND, Machine, ResolvedSpec
from app.environments.spec import EnvironmentSpec
from app.kernel.errors import FieldError, Invalid

DEFAULT_CONDA_CHANNEL = "conda-forge"
_CONDA_PYTHON_MINOR = f"3.{sys.version_info.minor}"


def resolve(spec: EnvironmentSpec, machine: Machine, *, pointer: str = "") -> ResolvedSpec:
    """Choose framework version, Python and requirements.

    A TensorFlow named only among the pip packages counts as a framework for the choice of the
    Python and of the versions held back, so ``tensorflow==1.13.1`` gets the Python of its era.

    Args:
        spec: what was asked for.
        machine: what is here.
        pointer: JSON pointer of the specification in the request, for errors.

    Raises:
        FrameworkUnavailable: no Python here can have the framework version.
        PythonUnavailable: the Python version is not here.
        AptUnavailable: Debian packages for a virtual environment.
        BaseImageNotAllowed: the operator does not allow the base image.
        CondaUnavailable: conda packages and no conda.
        ContainerImagesNeeded: a base of its own for a virtual environment.
        DockerfileNotAllowed: the operator does not allow Dockerfiles.
        HorovodUnsupported: Horovod does not work with what is asked for.
        MpiMissing: Horovod, and no MPI on this machine.
    """
    if not horovod.is_wanted(spec):
        return _resolve_on_base(spec, machine, pointer)
    spec, machine = horovod.narrowed(spec, machine, pointer=pointer)
    # Its library is linked to MPI's, whatever starts the ranks.
    spec = add_mpi(spec, machine, pointer=f"{pointer}/pip_packages")
    return replace(_resolve_on_base(spec, machine, pointer), horovod=horovod.VERSION)


def _resolve_on_base(spec: EnvironmentSpec, machine: Machine, pointer: str) -> ResolvedSpec:
    if machine.bases is None:
        check_needs_no_image(spec, pointer)
        return _resolve(spec, machine, pointer)
    if spec.base_image is not None or spec.dockerfile is not None:
        check_own_base(spec, machine.bases, pointer)
        return on_own_base(spec, _resolve(spec, with_every_python(machine), pointer))
    resolved = _resolve(spec, machine, pointer)
    base = machine.bases.base_of(
        python_version=_python_of_base(resolved, machine),
        has_conda=bool(resolved.conda_packages),
        framework=resolved.framework,
        framework_version=resolved.framework_version,
        use_gpu=resolved.use_gpu,
    )
    resolved = replace(resolved, kind=IMAGE_KIND, apt_packages=tuple(spec.apt_packages))
    return replace(resolved, base=base, base_digest=digest_in(base))


def _resolve(spec: EnvironmentSpec, machine: Machine, pointer: str) -> ResolvedSpec:
    _check_conda(spec, machine, pointer)
    named = [Requirement(line) for line in spec.pip_packages]
    named = [requirement for requirement in named if requirement.name in TENSORFLOW_NAMES]
    wanted = _wanted_series(spec, named)
    if wanted is None:
        return _plain(spec, machine, pointer)
    series, python_version = _choose(spec, machine, wanted, pointer)
    return _with_tensorflow(spec, machine, named, series, python_version)


def _python_of_base(resolved: ResolvedSpec, machine: Machine) -> str:
    """Which Python the base must have; conda brings the environment's own."""
    if not resolved.conda_packages or not machine.interpreters:
        return resolved.python_version
    return (machine.interpreter(_CONDA_PYTHON_MINOR) or machine.interpreters[0]).minor_name


def _check_conda(spec: EnvironmentSpec, machine: Machine, pointer: str) -> None:
    # An image brings what installs them.
    if spec.conda_packages and machine.conda_tool is None and machine.bases is None:
        _refuse(
            CondaUnavailable,
            f"{pointer}/conda_packages",
            "conda packages need micromamba, mamba or conda, and none is on this machine's PATH. "
            "Install one, or name the packages in pip_packages: "
            + ", ".join(spec.conda_packages)
            + ".",
        )


def _wanted_series(spec: EnvironmentSpec, named: list[Requirement]) -> list[Series] | None:
    """The series that may be taken, the newest first; None where TensorFlow is no part of it."""
    if spec.framework is None and not named:
        return None
    series = matching_series(spec.framework_version)
    for requirement in named:
        allowed = {one.number for one in series_allowed_by(requirement.specifier)}
        series = [one for one in series if one.number in allowed]
    if not series and spec.framework is None:
        return None  # a version that the table does not know; the installer decides
    return series


def _plain(spec: EnvironmentSpec, machine: Machine, pointer: str) -> ResolvedSpec:
    python_version = spec.python_version
    if not spec.conda_packages:
        if python_version is None:
            # The Python that runs this service is known to work here; a newer one may lack wheels.
            own = machine.interpreter(_CONDA_PYTHON_MINOR)
            chosen = own or (machine.interpreters[0] if machine.interpreters else None)
            python_version = chosen.minor_name if chosen else None
        _check_python(python_version, machine, pointer)
    return ResolvedSpec(
        python_version=python_version or _CONDA_PYTHON_MINOR,
        requirements=tuple(spec.pip_packages),
        conda_packages=tuple(spec.conda_packages),
        conda_channels=_channels(spec),
        platform_name=machine.platform_name,
    )


def _check_python(python_version: str | None, machine: Machine, pointer: str) -> None:
    if python_version is None or machine.interpreter(python_version) is None:
        _refuse(
            PythonUnavailable,
            f"{pointer}/python_version",
            f"There is no Python {python_version or 'at all'} on this machine; here: "
            f"{_here(machine)}. {_how_to_add(machine, python_version or '3.11')}",
        )


def _choose(
    spec: EnvironmentSpec, machine: Machine, wanted: list[Series], pointer: str
) -> tuple[Series, str]:
    """The newest wanted series that a Python here, the newest of them, can have."""
    if not spec.conda_packages and spec.python_version is not None:
        _check_python(spec.python_version, machine, pointer)
    for series in wanted:
        for python in _pythons(spec, machine, series):
            if series.supports(python):
                return series, f"{python[0]}.{python[1]}"
    possible = _available(machine)
    label = f"TensorFlow {spec.framework_version or ''}".strip()
    if not wanted:
        reason = f"{label} is not among the versions that this service knows."
    elif spec.python_version is not None:
        reason = f"{label} needs Python {_span(wanted)}; python_version is {spec.python_version}."
    else:
        reason = f"{label} needs Python {_span(wanted)}; here: {_here(machine)}."
    hint = ""
    if wanted:
        hint = _how_to_add(machine, f"{wanted[0].python_max[0]}.{wanted[0].python_max[1]}")
    listed = ", ".join(one.name for one in possible) or "none"
    _refuse(
        FrameworkUnavailable,
        f"{pointer}/framework_version",
        f"{reason} With the Pythons here you can have TensorFlow: {listed}. {hint}".strip(),
        available=[one.name for one in possible],
    )
    raise AssertionError("unreachable")


def _pythons(spec: EnvironmentSpec, machine: Machine, series: Series) -> list[tuple[int, int]]:
    if spec.python_version is not None:
        return [(3, int(spec.python_version.split(".")[1]))]
    if spec.conda_packages:
        return [series.python_max]
    return [interpreter.minor for interpreter in machine.interpreters]


def _with_tensorflow(
    spec: EnvironmentSpec,
    machine: Machine,
    named: list[Requirement],
    series: Series,
    python_version: str,
) -> ResolvedSpec:
    use_gpu = spec.use_gpu and machine.has_gpu
    warnings = []
    if spec.use_gpu and not machine.has_gpu:
        text = "use_gpu was asked for, but this machine has no NVIDIA GPU: TensorFlow for the CPU."
        warnings.append({"code": "no_gpu", "message": text})
    requirements = {*spec.pip_packages, *series.era.extra_requirements}
    constraints = set(series.era.constraints)
    version = version_specifier(series, spec.framework_version)
    if named:
        # The user chose the package; two of this family in one environment overwrite each other.
        if spec.framework_version is not None:
            constraints |= {f"{requirement.name}{version}" for requirement in named}
    else:
        name = package_name(series, use_gpu=use_gpu, platform_name=machine.platform_name)
        requirements.add(f"{name}{version}")
    return ResolvedSpec(
        python_version=python_version,
        requirements=tuple(sorted(requirements)),
        constraints=tuple(sorted(constraints)),
        framework="tensorflow",
        framework_version=version.removeprefix("==").removesuffix(".*"),
        use_gpu=use_gpu,
        conda_packages=tuple(spec.conda_packages),
        conda_channels=_channels(spec),
        platform_name=machine.platform_name,
        warnings=tuple(warnings),
    )


def _channels(spec: EnvironmentSpec) -> tuple[str, ...]:
    if not spec.conda_packages:
        return ()
    return tuple(spec.conda_channels or [DEFAULT_CONDA_CHANNEL])


def _available(machine: Machine) -> list[Series]:
    return [
        series
        for series in reversed(known_series())
        if any(series.supports(interpreter.minor) for interpreter in machine.interpreters)
    ]


def _span(series: list[Series]) -> str:
    oldest = min(one.python_min for one in series)
    newest = max(one.python_max for one in series)
    return f"{oldest[0]}.{oldest[1]}–{newest[0]}.{newest[1]}"


def _here(machine: Machine) -> str:
    return ", ".join(one.minor_name for one in reversed(machine.interpreters)) or "none"


def _how_to_add(machine: Machine, minor_name: str) -> str:
    if machine.bases is not None:
        return f"To add one: name a base image for {minor_name} in TRAINWRIGHT_BASE_IMAGES."
    return (
        f"To add one: `uv python install {minor_name}`, or name its folder in "
        "TRAINWRIGHT_PYTHON_SEARCH_PATHS."
    )


def _refuse(
    error: type[Invalid], pointer: str, message: str, *, available: list[str] | None = None
) -> None:
    extensions = {} if available is None else {"available_framework_versions": available}
    raise error(
        message,
        errors=[FieldError(pointer=pointer, code=error.code, message=message)],
        extensions=extensions,
    )
