"""Packages and image of an estimator, from all the arguments that say them."""

from collections.abc import Sequence
from typing import Any

from trainwright.azureml.core.conda_dependencies import CondaDependencies
from trainwright.azureml.core.environment import requirements_of
from trainwright.azureml.core.environment_sections import DockerSection


def packages_of(
    framework: Sequence[str],
    pip_packages: Sequence[str] | None,
    conda_packages: Sequence[str] | None,
    pip_requirements_file: str | None,
    conda_dependencies_file: str | None,
) -> CondaDependencies:
    """All packages; what is said by name wins over what is in a file."""
    packages = CondaDependencies(conda_dependencies_file)
    for line in framework:
        packages.add_pip_package(line)
    if pip_requirements_file is not None:
        for line in requirements_of(pip_requirements_file):
            packages.add_pip_package(line)
    for line in pip_packages or []:
        packages.add_pip_package(line)
    for line in conda_packages or []:
        packages.add_conda_package(line)
    return packages


def image_of(docker: DockerSection, image: str | None, registry: Any) -> None:
    """Write the image into an environment's section."""
    docker.base_image = image
    if registry is not None:
        docker.base_image_registry = registry
