"""What this machine has for environments."""

import asyncio
import os
import platform
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from app.environments.base_images import BaseImages
from app.environments.interpreters import Interpreter, discover_interpreters
from app.environments.resolved import Machine
from app.kernel.config import Settings

_CONDA_TOOLS = ("micromamba", "mamba", "conda")
_MPI_PROGRAMS = ("mpirun", "orted")
_LOOK_SECONDS = 5.0
_GPU_DEVICES = ("/dev/nvidia0", "/dev/dxg")


def this_machine(settings: Settings, *, environ: Mapping[str, str] = os.environ) -> Machine:
    """Look around; blocks for about a second the first time, for milliseconds after.

    Args:
        settings: for ``python_search_paths``.
        environ: where ``PATH`` and the folders of pyenv and uv are read.
    """
    if settings.provider == "docker":
        return _image_machine(settings)
    return Machine(
        interpreters=discover_interpreters(settings.python_search_paths, environ=environ),
        has_gpu=any(Path(device).exists() for device in _GPU_DEVICES),
        conda_tool=find_conda_tool(environ),
        has_mpi=all(shutil.which(name, path=environ.get("PATH", "")) for name in _MPI_PROGRAMS),
    )


_last_look: tuple[Settings, str, float, Machine] | None = None


async def machine_here(settings: Settings) -> Machine:
    """The same without blocking, and for some seconds without looking again.

    Looking around takes milliseconds, and many requests come in a second.
    """
    global _last_look
    path, now = os.environ.get("PATH", ""), time.monotonic()
    if _last_look is not None:
        asked, of_path, until, machine = _last_look
        if asked is settings and of_path == path and now < until:
            return machine
    machine = await asyncio.to_thread(this_machine, settings)
    _last_look = (settings, path, now + _LOOK_SECONDS, machine)
    return machine


def _image_machine(settings: Settings) -> Machine:
    """What can be had where environments are images: what the operator's base images bring."""
    bases = BaseImages(
        settings.base_images,
        allowed=settings.allowed_base_images,
        allows_dockerfiles=settings.allow_dockerfiles,
    )
    return Machine(
        interpreters=[
            Interpreter(path=Path(f"python{minor}"), version=f"{minor}.0")
            for minor in bases.python_versions()
        ],
        has_gpu=any(Path(device).exists() for device in _GPU_DEVICES),
        platform_name=f"linux-{platform.machine()}",
        bases=bases,
    )


def find_conda_tool(environ: Mapping[str, str] = os.environ) -> Path | None:
    """micromamba, mamba or conda on ``PATH``."""
    for name in _CONDA_TOOLS:
        if found := shutil.which(name, path=environ.get("PATH", "")):
            return Path(found)
    return None
