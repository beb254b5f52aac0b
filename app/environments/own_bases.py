"""Environments with a base of their own: what the operator allows, and what it means."""

from dataclasses import replace
from pathlib import Path

from app.environments.base_images import KNOWN_PYTHONS, BaseImages
from app.environments.errors import (
    AptUnavailable,
    BaseImageNotAllowed,
    ContainerImagesNeeded,
    DockerfileNotAllowed,
)
from app.environments.image_names import digest_in
from app.environments.interpreters import Interpreter
from app.environments.resolved import IMAGE_KIND, Machine, ResolvedSpec
from app.environments.spec import EnvironmentSpec
from app.kernel.errors import DomainError, FieldError

_CONTAINERS = "have nodes as containers (TRAINWRIGHT_PROVIDER=docker)"


def check_needs_no_image(spec: EnvironmentSpec, pointer: str) -> None:
    """Refuse what a virtual environment cannot be.

    Raises:
        AptUnavailable: Debian packages.
        ContainerImagesNeeded: a base image or a Dockerfile.
    """
    if spec.apt_packages:
        message = (
            "Environments are virtual environments of this machine here, which Debian packages "
            f"cannot be part of: install them on the machine, or {_CONTAINERS}. Asked for: "
            f"{', '.join(spec.apt_packages)}."
        )
        _refuse(AptUnavailable, f"{pointer}/apt_packages", message)
    for name in ("base_image", "dockerfile"):
        if getattr(spec, name) is not None:
            message = f"Environments are virtual environments of this machine here: {_CONTAINERS}."
            _refuse(ContainerImagesNeeded, f"{pointer}/{name}", message)


def check_own_base(spec: EnvironmentSpec, bases: BaseImages, pointer: str) -> None:
    """Refuse a base that the operator does not allow.

    Raises:
        BaseImageNotAllowed: an image that no pattern matches.
        DockerfileNotAllowed: a Dockerfile.
    """
    if spec.dockerfile is not None and not bases.allows_dockerfiles:
        message = (
            "Dockerfiles in environments are not allowed here; whoever operates this service can "
            "allow them with TRAINWRIGHT_ALLOW_DOCKERFILES=true."
        )
        _refuse(DockerfileNotAllowed, f"{pointer}/dockerfile", message)
    if spec.base_image is not None and not bases.allows(spec.base_image):
        allowed = ", ".join(bases.allowed) or "none"
        message = (
            f"The base image {spec.base_image} is not allowed here; allowed: {allowed}. Whoever "
            "operates this service names more in TRAINWRIGHT_ALLOWED_BASE_IMAGES."
        )
        _refuse(BaseImageNotAllowed, f"{pointer}/base_image", message)


def with_every_python(machine: Machine) -> Machine:
    """The machine as if it had every Python: which one a user's base has, the build tells."""
    pythons = [Interpreter(Path(f"python{minor}"), f"{minor}.0") for minor in KNOWN_PYTHONS]
    return replace(machine, interpreters=pythons)


def on_own_base(spec: EnvironmentSpec, resolved: ResolvedSpec) -> ResolvedSpec:
    """A resolved specification with the base that it names or builds itself."""
    # The base's own where none was asked for, whichever that is.
    is_open = spec.python_version is None and not spec.conda_packages
    return replace(
        resolved,
        kind=IMAGE_KIND,
        python_version="" if is_open else resolved.python_version,
        apt_packages=tuple(spec.apt_packages),
        base=spec.base_image,
        base_digest=digest_in(spec.base_image) if spec.base_image is not None else None,
        dockerfile=spec.dockerfile,
        user_managed=spec.user_managed,
    )


def _refuse(error: type[DomainError], pointer: str, message: str) -> None:
    raise error(message, errors=[FieldError(pointer=pointer, code=error.code, message=message)])
