"""What an environment needs so that its ranks find each other."""

import asyncio

from app.environments.errors import MpiMissing
from app.environments.machine import this_machine
from app.environments.packages import conda_name
from app.environments.resolved import Machine
from app.environments.spec import EnvironmentSpec
from app.kernel.config import Settings
from app.kernel.errors import FieldError

OPEN_MPI = "openmpi-bin"
"""The package of Debian and Ubuntu that has mpirun and its daemon."""


async def with_mpi(settings: Settings, spec: EnvironmentSpec, *, pointer: str) -> EnvironmentSpec:
    """The environment with Open MPI in it, as far as that is this service's to see to.

    Args:
        settings: the operator's.
        spec: what was asked for.
        pointer: JSON pointer of what asks for MPI, for errors.

    Raises:
        MpiMissing: nodes are processes of this machine, which has no Open MPI.
    """
    machine = await asyncio.to_thread(this_machine, settings)
    return add_mpi(spec, machine, pointer=pointer)


def add_mpi(spec: EnvironmentSpec, machine: Machine, *, pointer: str) -> EnvironmentSpec:
    """As :func:`with_mpi`, on a machine that was looked at already."""
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
