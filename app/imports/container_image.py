"""The container image of a v1 environment: its base, a Dockerfile, or an image that has it all."""

from typing import Any

from app.imports.given import Given
from app.imports.translation import Sent, Translation, below

_ADVICE = "give environment or environment_name beside job"
# Whether nodes are containers, and of which kind, is the operator's choice.
IGNORED_OF_DOCKER = frozenset({"enabled", "gpuSupport", "platform", "sharedVolumes", "useDocker"})
# What the v1 SDK puts into every environment; nobody chose it.
_AZURE_DEFAULTS = "mcr.microsoft.com/azureml/"


class Registry(Sent):
    """Where a base image is."""

    address: str | None = None
    username: str | None = None
    password: str | None = None


class Docker(Sent):
    """The image of an environment."""

    base_image: str | None = None
    base_dockerfile: str | None = None
    base_image_registry: Registry | None = None
    build_context: Any = None
    shm_size: str | None = None


def image_of_environment(
    docker: Docker, pointer: str, given: Given, into: Translation, *, user_managed: bool
) -> bool:
    """Write the base of a v1 environment into the run's environment.

    Args:
        docker: what the document says of the image.
        pointer: where the environment is in the document.
        given: says whether environments are container images here.
        into: the translation that is being made.
        user_managed: whether the document says that the image has all packages already.

    Returns:
        Whether the image has all packages, so that the document's own list of them is not used.
    """
    where = below(pointer, "docker")
    into.sort_out(docker, where, ignored=IGNORED_OF_DOCKER)
    if docker.build_context:
        message = f"A build context cannot be taken over; {_ADVICE}."
        into.refuse(below(where, "buildContext"), "import_unsupported", message)
    own_base = bool(docker.base_image) and not str(docker.base_image).startswith(_AZURE_DEFAULTS)
    fields: dict[str, Any] = {}
    if given.has_container_images and docker.base_dockerfile:
        fields["dockerfile"] = docker.base_dockerfile
        into.origins["/environment/dockerfile"] = below(where, "baseDockerfile")
    elif docker.base_dockerfile:
        message = f"Environments are no container images here; {_ADVICE}."
        into.refuse(below(where, "baseDockerfile"), "import_unsupported", message)
    elif given.has_container_images and own_base:
        fields["base_image"] = _full_name(docker, where, into)
        into.origins["/environment/base_image"] = below(where, "baseImage")
    elif docker.base_image and not user_managed:
        into.warn(
            below(where, "baseImage"),
            "base_image_ignored",
            f"The image {docker.base_image} was left aside: the environment is made on a base of "
            "this service.",
        )
    if user_managed and not fields:
        place = below(pointer, "python", "userManagedDependencies")
        message = f"The packages are said to be in an image that cannot be had here; {_ADVICE}."
        into.refuse(place, "import_unsupported", message)
    if user_managed:
        fields["user_managed"] = True
    if fields:
        into.put("environment", fields, where)
    return user_managed


def _full_name(docker: Docker, where: str, into: Translation) -> str:
    name, registry = str(docker.base_image), docker.base_image_registry or Registry()
    if registry.username or registry.password:
        place = below(where, "baseImageRegistry")
        message = (
            "Credentials of registries are the operator's to set up "
            "(TRAINWRIGHT_REGISTRY_CREDENTIALS_FILE); leave them out of the document."
        )
        into.refuse(place, "import_unsupported", message)
    address = (registry.address or "").removeprefix("https://").rstrip("/")
    return name if not address or name.startswith(f"{address}/") else f"{address}/{name}"
