"""The Docker engine of this machine, for tests that need one, and an image to make nodes of."""

import fcntl
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import docker
from docker.errors import ImageNotFound

from app.providers.base import ProviderError
from app.providers.docker.container import INPUT_LABEL, NODE_LABEL, OWNER_LABEL
from app.providers.docker.engine import EngineAddress, engine

DOCKER_URL = os.environ.get("TRAINWRIGHT_DOCKER_URL", "unix:///var/run/docker.sock")
BASE_IMAGE = "trainwright-test/node:bookworm"
_BUILD = Path(__file__).parents[1] / "build"
_TAR = _BUILD / "node-bookworm.tar"
_PACKAGES = "python3,ca-certificates"


NO_BASE_IMAGE = "debootstrap, as root, has to make the base image"


class NoBaseImage(Exception):
    """The base image cannot be made on this machine; the message says what is missing."""


def client() -> Any:
    """A client of the engine; close it."""
    return docker.APIClient(base_url=DOCKER_URL, version="auto", timeout=60)


def bridge_address() -> str:
    """The address of this machine on the engine's bridge, which containers and builds reach."""
    with closing(client()) as engine:
        (network,) = engine.inspect_network("bridge")["IPAM"]["Config"]
    # An engine that has just made its bridge does not name the gateway: it is the first address.
    first = next(ip_network(network["Subnet"]).hosts())
    return str(network.get("Gateway", first))


def answers() -> bool:
    """Whether an engine is there."""
    try:
        with engine(EngineAddress(DOCKER_URL)) as found:
            return bool(found.ping())
    except ProviderError:
        return False


def base_image() -> str:
    """The id of a small image with Python, made without any registry.

    Made once a machine: the file of it is kept in the `build` folder.

    Raises:
        NoBaseImage: `debootstrap` is missing, or the caller is not root.
    """
    _BUILD.mkdir(exist_ok=True)
    with (_BUILD / ".node-image.lock").open("w") as lock, closing(client()) as made:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return str(made.inspect_image(BASE_IMAGE)["Id"])
        except ImageNotFound:
            pass
        if not _TAR.exists():
            _bootstrap()
        repository, _, tag = BASE_IMAGE.partition(":")
        made.import_image_from_file(str(_TAR), repository=repository, tag=tag)
        return str(made.inspect_image(BASE_IMAGE)["Id"])


def left_of_nodes(client: Any, owner: str) -> list[str]:
    """Containers, networks and volumes of an installation's nodes; not the inputs it keeps."""
    ours = f"{OWNER_LABEL}={owner}"
    volumes = client.volumes(filters={"label": [ours, NODE_LABEL]})["Volumes"] or []
    return [
        *(each["Names"][0] for each in client.containers(all=True, filters={"label": ours})),
        *(each["Name"] for each in volumes),
        *(each["Name"] for each in client.networks(filters={"label": ours})),
    ]


def kept_inputs(client: Any, owner: str) -> list[str]:
    """The volumes in which an installation keeps inputs."""
    labels = [f"{OWNER_LABEL}={owner}", INPUT_LABEL]
    return [each["Name"] for each in client.volumes(filters={"label": labels})["Volumes"] or []]


def files_of(client: Any, volume: str, image: str) -> dict[str, bytes]:
    """The content of the files at the top of a volume, by name."""
    made = client.create_container(
        image, ["true"], host_config=client.create_host_config(binds=[f"{volume}:/volume:ro"])
    )["Id"]
    try:
        pieces, _ = client.get_archive(made, "/volume/.")
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            opened = {Path(each.name).name: archive.extractfile(each) for each in archive}
            return {name: file.read() for name, file in opened.items() if file is not None}
    finally:
        client.remove_container(made, force=True)


def _bootstrap() -> None:
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise NoBaseImage(NO_BASE_IMAGE)
    with tempfile.TemporaryDirectory(prefix="tw-base-") as folder:
        root = Path(folder) / "root"
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root)],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=600,
        )
        partial = _TAR.with_suffix(".partial")
        subprocess.run(
            ["tar", "-C", str(root), "--exclude=./var/cache/apt/*", "-cf", str(partial), "."],
            check=True,
            timeout=120,
        )
        partial.replace(_TAR)
