"""Errors of hosts."""

from app.kernel.errors import Conflict, NotFound


class HostNotFound(NotFound):
    """There is no such host."""

    code = "host_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no host {name!r}; GET /v1/hosts lists them. To register an engine, give its "
            "engine_url."
        )


class HostBusy(Conflict):
    """Nodes are on the host, or may come, so it cannot go."""

    code = "host_busy"


class HostFromSettings(Conflict):
    """The operator's settings name the host, so the API cannot register or remove it."""

    code = "host_from_settings"


class NoSwarm(Conflict):
    """Nodes of this installation do not live on engines of a swarm."""

    code = "no_swarm"
