"""Docker Compose, for tests of the compose file."""

import re
import shutil
import subprocess
from functools import lru_cache

NEEDED = (2, 24)
NO_COMPOSE = "there is no Docker Compose of at least 2.24"


@lru_cache
def compose_program() -> tuple[str, ...] | None:
    """The command that is Docker Compose, as a plug-in or on its own; None: none is new enough."""
    for command in (("docker", "compose"), ("docker-compose",), (_DEBIAN_PLUGIN,)):
        if shutil.which(command[0]) and (_version(command) or (0, 0)) >= NEEDED:
            return command
    return None


# Where Debian's package has it; a `docker` of another origin may not look there.
_DEBIAN_PLUGIN = "/usr/libexec/docker/cli-plugins/docker-compose"


def _version(command: tuple[str, ...]) -> tuple[int, int] | None:
    said = subprocess.run(
        [*command, "version", "--short"], capture_output=True, text=True, timeout=30
    )
    found = re.match(r"v?(\d+)\.(\d+)", said.stdout.strip())
    return (int(found[1]), int(found[2])) if said.returncode == 0 and found else None
