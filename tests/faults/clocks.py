"""Processes on a machine whose clock is wrong."""

import shutil
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("wrong_clock.c")
NO_COMPILER = "a C compiler has to make it (on Debian: apt-get install gcc libc6-dev)"


def compiler() -> str | None:
    """The compiler of this machine, if it has one."""
    return shutil.which("cc")


def compiled(folder: Path) -> Path:
    """Make the library that sets a process's clock wrong.

    Args:
        folder: where to.
    """
    library = folder / "wrong_clock.so"
    command = [str(compiler()), "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE)]
    subprocess.run(command, check=True, timeout=60)
    return library


def wrong_by(seconds: int, library: Path) -> dict[str, str]:
    """What a process has in its environment whose clock is off by so much."""
    return {"LD_PRELOAD": str(library), "CLOCK_IS_OFF_BY_SECONDS": str(seconds), "TZ": "UTC"}
