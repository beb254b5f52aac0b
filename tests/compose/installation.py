"""One installation made by the compose file, and what the engine holds of it."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from app.environments.docker_builder import DockerImageBuilder
from app.environments.image_engine import ImageEngine
from app.providers.docker.container import OWNER_LABEL
from tests import docker_engine
from tests.compose.stand_ins import name_of
from tests.conftest import REPOSITORY

_SETTINGS = {
    "IMAGE": "trainwright", "POSTGRES_IMAGE": "postgres", "BROKER_IMAGE": "valkey",
    "REGISTRY_IMAGE": "registry", "GATEWAY_IMAGE": "haproxy",
}  # fmt: skip
_UP_SECONDS = 240


class Installation:
    """A project of its own name, with ports, secrets and settings of its own.

    Attributes:
        project: its name.
        address: where the API is.
        registry: host and port of its registry.
    """

    def __init__(self, command: tuple[str, ...], folder: Path, *, base: str) -> None:
        self._command = command
        self._folder = folder
        self.project = f"twtest{socket.gethostname()[:8]}{folder.stat().st_ino}".lower()
        port, node_port, registry_port = _free_ports(3)
        self.address = f"http://127.0.0.1:{port}"
        self.registry = f"127.0.0.1:{registry_port}"
        own = {
            **{key: name_of(part) for key, part in _SETTINGS.items()},
            "PORT": port,
            "NODE_PORT": node_port,
            "REGISTRY_PORT": registry_port,
            "API_REPLICAS": 2,
            "SETTINGS": folder / "settings.env",
        }
        lines = [f"TRAINWRIGHT_{key}={value}\n" for key, value in own.items()]
        (folder / ".env").write_text("".join(lines))
        settings = {"BASE_IMAGES": json.dumps({"3.11": base}), "HEARTBEAT_SECONDS": "0.5"}
        (folder / "settings.env").write_text(
            "".join(f"TRAINWRIGHT_{key}={value}\n" for key, value in settings.items())
        )

    def prepare(self) -> None:
        """Run `compose/setup`."""
        _run(REPOSITORY / "compose" / "setup", str(self._folder))

    def up(self) -> None:
        """Start it and wait until all of it is well."""
        self.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", str(_UP_SECONDS))

    def compose(self, *arguments: str) -> str:
        """Run Compose on it; returns what it printed."""
        options = ("--env-file", str(self._folder / ".env"), "--project-name", self.project)
        return _run(*self._command, *options, *arguments)

    def secret(self, name: str) -> str:
        """What `compose/setup` made."""
        return (self._folder / "secrets" / name).read_text()

    def containers(self, service: str | None = None) -> list[dict[str, Any]]:
        """What the engine says of its containers, or of those of one service."""
        labels = [f"com.docker.compose.project={self.project}"]
        if service is not None:
            labels.append(f"com.docker.compose.service={service}")
        with closing(docker_engine.client()) as engine:
            found = engine.containers(all=True, filters={"label": labels})
            return [engine.inspect_container(each["Id"]) for each in found]

    def left(self) -> list[str]:
        """Containers, volumes and networks of it that the engine still holds."""
        ours = {"label": f"com.docker.compose.project={self.project}"}
        with closing(docker_engine.client()) as engine:
            return [
                *(each["Names"][0] for each in engine.containers(all=True, filters=ours)),
                *(each["Name"] for each in engine.volumes(filters=ours)["Volumes"] or []),
                *(each["Name"] for each in engine.networks(filters=ours)),
            ]

    def remove_images(self) -> None:
        """Remove what its workers built and left in the engine."""
        builder = DockerImageBuilder(ImageEngine(docker_engine.DOCKER_URL))
        with closing(docker_engine.client()) as engine:
            pushed = engine.images(name=f"{self.registry}/environments")
            for name in [tag for image in pushed for tag in image["RepoTags"] or []]:
                engine.remove_image(name)
                builder.remove(name.rpartition(":")[2])


def nodes_of(owner_of: str) -> list[str]:
    """Names of the containers and volumes of an installation's nodes."""
    ours = {"label": f"{OWNER_LABEL}={owner_of}"}
    with closing(docker_engine.client()) as engine:
        return [
            *(each["Names"][0] for each in engine.containers(all=True, filters=ours)),
            *(each["Name"] for each in engine.volumes(filters=ours)["Volumes"] or []),
            *(each["Name"] for each in engine.networks(filters=ours)),
        ]


@contextmanager
def installed(command: tuple[str, ...], folder: Path, *, base: str) -> Iterator[Installation]:
    """An installation for the block; its volumes go with it."""
    installation = Installation(command, folder, base=base)
    installation.prepare()
    try:
        installation.up()
        yield installation
    finally:
        installation.compose("down", "--volumes", "--timeout", "5")
        installation.remove_images()


def _run(*argv: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in argv],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=_UP_SECONDS + 60,
    )
    assert done.returncode == 0, f"{argv} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def _free_ports(count: int) -> list[int]:
    # On all addresses: the engine wants them on loopback and on its bridge.
    held = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in held]
    for server in held:
        server.close()
    return ports
