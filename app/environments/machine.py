"""What this machine has for environments."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from app.environments.interpreters import discover_interpreters
from app.environments.resolved import Machine
from app.kernel.config import Settings

_CONDA_TOOLS = ("micromamba", "mamba", "conda")
_GPU_DEVICES = ("/dev/nvidia0", "/dev/dxg")


def this_machine(settings: Settings, *, environ: Mapping[str, str] = os.environ) -> Machine:
    """Look around; blocks for about a second the first time, for milliseconds after.

    Args:
        settings: for ``python_search_paths``.
        environ: where ``PATH`` and the folders of pyenv and uv are read.
    """
    return Machine(
        interpreters=discover_interpreters(settings.python_search_paths, environ=environ),
        has_gpu=any(Path(device).exists() for device in _GPU_DEVICES),
        conda_tool=find_conda_tool(environ),
    )


def find_conda_tool(environ: Mapping[str, str] = os.environ) -> Path | None:
    """micromamba, mamba or conda on ``PATH``."""
    for name in _CONDA_TOOLS:
        if found := shutil.which(name, path=environ.get("PATH", "")):
            return Path(found)
    return None
