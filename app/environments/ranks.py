"""What an environment needs so that its ranks find each other; pure functions."""

from app.environments.errors import MpiMissing
from app.environments.horovod import NAME, has_tensorflow, is_wanted
from app.environments.packages import conda_name
from app.environments.resolved import Machine
from app.environments.spec import EnvironmentSpec
from app.kernel.errors import FieldError

OPEN_MPI = "openmpi-bin"
"""The package of Debian and Ubuntu that has mpirun and its daemon."""


def for_ranks(
    spec: EnvironmentSpec, machine: Machine, *, controller: str, pointer: str
) -> EnvironmentSpec:
    """The environment of a run whose processes are ranks: Open MPI, and Horovod for TensorFlow.

    Args:
        spec: what was asked for.
        machine: what is here.
        controller: ``mpi``, or ``gloo``, which only Horovod has.
        pointer: JSON pointer of what asks for ranks, for errors.

    Raises:
        MpiMissing: nodes are processes of this machine, which has no Open MPI.
    """
    if spec.user_managed:
        return spec
    if controller == "mpi":
        spec = add_mpi(spec, machine, pointer=pointer)
        if not has_tensorflow(spec):
            return spec
    if is_wanted(spec):
        return spec
    return spec.model_copy(update={"pip_packages": sorted([*spec.pip_packages, NAME])})


def add_mpi(spec: EnvironmentSpec, machine: Machine, *, pointer: str) -> EnvironmentSpec:
    """The environment with Open MPI, where that is not the machine's.

    Raises:
        MpiMissing: it is the machine's, and is not there.
    """
    if any(conda_name(line) == "openmpi" for line in spec.conda_packages):
        return spec
    if machine.bases is not None:
        names = {line.split("=")[0] for line in spec.apt_packages}
        if OPEN_MPI in names:
            return spec
        return spec.model_copy(update={"apt_packages": sorted([*spec.apt_packages, OPEN_MPI])})
    if not machine.has_mpi:
        message = (
            "mpirun and orted of Open MPI are not on this machine's PATH. On Debian and Ubuntu: "
            f"apt-get install {OPEN_MPI}."
        )
        error = FieldError(pointer=pointer, code=MpiMissing.code, message=message)
        raise MpiMissing(message, errors=[error])
    return spec
