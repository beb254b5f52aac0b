"""Which Python interpreters this machine has, to try old syntax on the real thing."""

import shutil
import subprocess
import sys
from pathlib import Path

MINORS = range(6, 15)


def find_interpreters() -> dict[str, str]:
    """Return {"3.6": path, …} of interpreters that start.

    They are looked for on PATH and beside the one that runs this, which is where pyenv puts
    them all; another home folder hides none.
    """
    found: dict[str, str] = {}
    for minor in MINORS:
        version = f"3.{minor}"
        candidates = [shutil.which(f"python{version}")]
        candidates += sorted(
            str(path) for path in Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python")
        )
        for candidate in candidates:
            if candidate is not None and _starts(candidate, version):
                found[version] = candidate
                break
    return found


def _starts(path: str, version: str) -> bool:
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [path, "-I", "-c", program], capture_output=True, text=True, timeout=20, check=False
        )
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == version


INTERPRETERS = find_interpreters()
