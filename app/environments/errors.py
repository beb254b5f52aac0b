"""Errors of environments and images."""

from app.kernel.errors import Conflict, Forbidden, Invalid, NotFound


class EnvironmentNotFound(NotFound):
    """There is no environment of this name."""

    code = "environment_not_found"
    title = "Environment not found"


class EnvironmentNameReserved(Forbidden):
    """Names that start so belong to the service (Azure ML keeps the same ones)."""

    code = "environment_name_reserved"
    title = "Reserved environment name"


class ImageNotFound(NotFound):
    """There is no image of this hash in the workspace."""

    code = "image_not_found"
    title = "Image not found"


class ImageInUse(Conflict):
    """The image cannot go while a run or deployment needs it."""

    code = "image_in_use"
    title = "Image in use"


class FrameworkUnavailable(Invalid):
    """No interpreter here can have the framework version."""

    code = "framework_unavailable"
    title = "Framework version not available here"


class PythonUnavailable(Invalid):
    """The Python version that was asked for is not here."""

    code = "python_unavailable"
    title = "Python version not available here"


class AptUnavailable(Invalid):
    """Debian packages were asked for where environments are no container images."""

    code = "apt_unavailable"
    title = "No Debian packages here"


class MpiMissing(Invalid):
    """Ranks were to be started by MPI on a machine that has none."""

    code = "mpi_missing"
    title = "No MPI here"


class ContainerImagesNeeded(Invalid):
    """A base image or a Dockerfile was given where environments are no container images."""

    code = "container_images_needed"
    title = "No container images here"


class BaseImageNotAllowed(Forbidden):
    """The operator does not allow this image as a base."""

    code = "base_image_not_allowed"
    title = "Base image not allowed"


class DockerfileNotAllowed(Forbidden):
    """The operator does not allow Dockerfiles in environments."""

    code = "dockerfile_not_allowed"
    title = "Dockerfiles not allowed"


class HorovodUnsupported(Invalid):
    """Horovod was asked for with something that it does not work with."""

    code = "horovod_unsupported"
    title = "Not a combination that Horovod works with"


class ToolchainMissing(Invalid):
    """Horovod has to be compiled, and this machine has no compiler for it."""

    code = "horovod_toolchain_missing"
    title = "No compiler for Horovod here"


class CondaUnavailable(Invalid):
    """conda packages were asked for and no tool to install them is here."""

    code = "conda_unavailable"
    title = "No conda here"
