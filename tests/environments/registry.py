"""A private registry on the loopback interface, for tests."""

import base64
import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "fish-7"
_PROGRAM = "docker-registry"
# The password above; the registry takes bcrypt only.
_HTPASSWD = "bird:$2b$05$abcdefghijklmnopqrstuu81GOU8bQadqQ2XGbUdPJ3X3DNwMgjbe\n"


@dataclass(frozen=True)
class Registry:
    """A running registry.

    Attributes:
        address: host and port.
        credentials_file: a Docker config.json with the password.
    """

    address: str
    credentials_file: Path


def has_registry() -> bool:
    """Whether the program is here (Debian: docker-registry)."""
    return shutil.which(_PROGRAM) is not None


@contextmanager
def private_registry(
    folder: Path, *, host: str = "127.0.0.1", deletes: bool = True
) -> Iterator[Registry]:
    """Run a registry for the block.

    Args:
        folder: for all that it keeps.
        host: the address that it listens on.
        deletes: whether it deletes what it is asked to, as registries do that are set up so.
    """
    with socket.create_server((host, 0)) as free:
        address = f"{host}:{free.getsockname()[1]}"
    (folder / "htpasswd").write_text(_HTPASSWD)
    config = {
        "version": "0.1",
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "blobs")},
            "delete": {"enabled": deletes},
        },
        "http": {"addr": address},
        "auth": {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}},
    }
    (folder / "config.yml").write_text(json.dumps(config))  # YAML includes JSON
    login = base64.b64encode(f"bird:{PASSWORD}".encode()).decode()
    credentials = folder / "credentials.json"
    credentials.write_text(json.dumps({"auths": {address: {"auth": login}}}))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            [_PROGRAM, "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    try:
        _wait(process, address)
        yield Registry(address, credentials)
    finally:
        process.kill()
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", address: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "the registry ended"
        assert time.monotonic() < deadline, "the registry does not answer"
        connection = http.client.HTTPConnection(address, timeout=2)
        try:
            connection.request("GET", "/v2/")
            connection.getresponse()
        except OSError:
            time.sleep(0.05)
        else:
            return
        finally:
            connection.close()
