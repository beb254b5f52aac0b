"""Programs that are no part of Trainwright, in folders of their own below ``build``.

What they are is pinned, with all they need, in ``tools/node/package-lock.json`` and
``tools/python/requirements.txt``. Each is installed once, and again when its pins change.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uv

_TOOLS = Path(__file__).parent
BUILD = _TOOLS.parent / "build"
_SECONDS = 900


class ProgramMissing(Exception):
    """Something that the toolbox itself needs is not on this machine."""


def node_programs() -> Path:
    """The folder of the commands from npm: spectral, redocly, openapi-ts, tsc.

    Raises:
        ProgramMissing: there is no npm.
    """
    if shutil.which("npm") is None:
        raise ProgramMissing("there is no npm (Debian: nodejs npm)")
    pins = _TOOLS / "node"
    with _installed("node-tools", pins / "package-lock.json") as folder:
        if folder is not None:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(pins / name, folder / name)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            environment = {**os.environ, "npm_config_update_notifier": "false"}
            subprocess.run(command, cwd=folder, env=environment, check=True, timeout=_SECONDS)
    return BUILD / "node-tools/node_modules/.bin"


def python_programs() -> Path:
    """The folder of the commands from PyPI: the generators of Python and Go, mypy, go, python."""
    pins = _TOOLS / "python/requirements.txt"
    with _installed("python-tools", pins) as folder:
        if folder is not None:
            program, python = uv.find_uv_bin(), str(folder / "bin/python")
            make = [program, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]
            subprocess.run(make, check=True, timeout=_SECONDS)
            install = [program, "pip", "install", "--quiet", "--python", python]
            install += ["--require-hashes", "--requirement", str(pins)]
            subprocess.run(install, check=True, timeout=_SECONDS)
    return BUILD / "python-tools/bin"


@contextmanager
def _installed(name: str, pins: Path) -> Iterator[Path | None]:
    """Give the empty folder to install into, or None when it is as the pins say already."""
    folder = BUILD / name
    wanted = hashlib.sha256(pins.read_bytes()).hexdigest()
    BUILD.mkdir(exist_ok=True)
    with (BUILD / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / ".ready"
        if done.exists() and done.read_text() == wanted:
            yield None
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
        done.write_text(wanted)
