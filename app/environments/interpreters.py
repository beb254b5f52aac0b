"""The Python interpreters of this machine, each asked once what it is."""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.environments.frameworks import PythonMinor

OLDEST_MINOR: PythonMinor = (3, 6)
_PROBE_SECONDS = 10
_FAILURE_KEPT_SECONDS = 30.0
_USUAL_FOLDERS = ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin")
# Runs under any Python 3: prints one line of JSON.
_PROBE = """
import json, platform, sys, sysconfig
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "final": sys.version_info[3] == "final",
    "cpython": platform.python_implementation() == "CPython",
    "bits": 64 if sys.maxsize > 2 ** 32 else 32,
    "virtual": sys.prefix != sys.base_prefix,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "executable": sys.executable,
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A working CPython that environments can be made from."""

    path: Path
    version: str
    """In full, e.g. ``3.7.16``."""

    @property
    def minor(self) -> PythonMinor:
        """E.g. ``(3, 7)``."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    @property
    def minor_name(self) -> str:
        """E.g. ``3.7``."""
        return f"{self.minor[0]}.{self.minor[1]}"


_Key = tuple[str, int, int]
# By path, time of change and size: an upgraded interpreter is asked again.
_answered: dict[_Key, Interpreter | None] = {}
_failed: dict[_Key, float] = {}
"""When a question failed. It may have been the machine's load, so that it is asked again."""


def discover_interpreters(
    search_paths: Sequence[Path] = (), *, environ: Mapping[str, str] = os.environ
) -> list[Interpreter]:
    """One interpreter for each minor version found, the newest version first.

    Looked at are the given paths, this process's own base interpreter, ``PATH``, pyenv's versions
    and those that uv manages. Of several with one minor version the given paths come first, then
    the highest patch release. Blocks for tens of milliseconds per interpreter the first time.

    Args:
        search_paths: executables, or folders with executables named ``python*``.
        environ: where ``PATH``, ``HOME``, ``PYENV_ROOT`` and uv's folders are read.
    """
    given = list(_unique(_in_search_paths(search_paths)))
    others = list(_unique(_usual_places(environ)))
    with ThreadPoolExecutor(max_workers=4) as pool:
        found_given = list(pool.map(_probe_once, given))
        found_others = list(pool.map(_probe_once, others))
    best: dict[PythonMinor, Interpreter] = {}
    for group in (found_given, sorted(filter(None, found_others), key=_patch, reverse=True)):
        for interpreter in filter(None, group):
            best.setdefault(interpreter.minor, interpreter)
    return [best[minor] for minor in sorted(best, reverse=True)]


def _in_search_paths(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        expanded = path.expanduser()
        if expanded.is_dir():
            yield from _pythons_in(expanded)
            yield from _pythons_in(expanded / "bin")
        else:
            yield expanded


def _usual_places(environ: Mapping[str, str]) -> Iterator[Path]:
    yield Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    for folder in (*environ.get("PATH", "").split(os.pathsep), *_USUAL_FOLDERS):
        # Shims start whichever version is selected; the versions themselves are found below.
        if folder and Path(folder).name != "shims":
            yield from _pythons_in(Path(folder))
    home = Path(environ.get("HOME", "~")).expanduser()
    pyenv_root = Path(environ.get("PYENV_ROOT") or home / ".pyenv")
    data_home = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    uv_root = Path(environ.get("UV_PYTHON_INSTALL_DIR") or data_home / "uv" / "python")
    for versions in (pyenv_root / "versions", uv_root):
        for version in sorted(versions.glob("*/bin")):
            yield from _pythons_in(version)


def _pythons_in(folder: Path) -> Iterator[Path]:
    names = ["python3", *(f"python3.{minor}" for minor in range(OLDEST_MINOR[1], 40))]
    for name in names:
        if found := shutil.which(name, path=str(folder)):
            yield Path(found)


def _unique(paths: Iterable[Path]) -> Iterator[Path]:
    seen: set[str] = set()
    for path in paths:
        real = os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            yield path


def _probe_once(path: Path) -> Interpreter | None:
    try:
        status = path.stat()
    except OSError:
        return None
    key = (str(path), status.st_mtime_ns, status.st_size)
    if key in _answered:
        return _answered[key]
    if time.monotonic() < _failed.get(key, -math.inf) + _FAILURE_KEPT_SECONDS:
        return None
    facts = _probe(path)
    if facts is None:
        _failed[key] = time.monotonic()
        return None
    _answered[key] = _usable(facts)
    return _answered[key]


def _probe(path: Path) -> dict[str, Any] | None:
    """What an interpreter says of itself; None: it does not answer."""
    try:
        answer = subprocess.run(
            [str(path), "-I", "-c", _PROBE],
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        facts: dict[str, Any] = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return facts


def _usable(facts: dict[str, Any]) -> Interpreter | None:
    if facts["virtual"] or facts["free_threaded"] or not facts["final"]:
        return None
    if not facts["cpython"] or facts["bits"] != 64 or tuple(facts["version"]) < OLDEST_MINOR:
        return None
    return Interpreter(
        path=Path(facts["executable"]), version=".".join(str(part) for part in facts["version"])
    )


def _patch(interpreter: Interpreter) -> int:
    return int(interpreter.version.split(".")[2])
