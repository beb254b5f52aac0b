"""What goes on in one process, and in what order, when several share the tests (`-n 2`)."""

import re

from xdist.scheduler import LoadScopeScheduling

# They take longest, so they begin first: what uses the machine's one engine, and what uses one
# stack that is started once.
_GROUPS = {
    "engine": re.compile(
        r"tests/(compose/|environments/|providers/|e2e/test_(docker|mpi_docker|swarm))"
    ),
    "stack": re.compile(r"tests/e2e/"),
}


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a process a whole group of files, or else a whole file."""

    def _split_scope(self, nodeid: str) -> str:
        for name, files in _GROUPS.items():
            if files.match(nodeid):
                return name
        return nodeid.partition("::")[0]


def turn(nodeid: str) -> int:
    """Where a test stands among the groups: the lower, the earlier."""
    found = (number for number, files in enumerate(_GROUPS.values()) if files.match(nodeid))
    return next(found, len(_GROUPS))
