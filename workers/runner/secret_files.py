"""The run's secrets as files that only its user can read, outside of everything that is kept."""

from __future__ import annotations

import base64
import os
import shutil
import stat

from workers.runner.api import Endpoint, persist
from workers.runner.errors import PrepareError
from workers.runner.order import Order, inside
from workers.runner.redaction import Redactor

FOLDER_VARIABLE = "TRAINWRIGHT_SECRETS_DIR"
"""A folder in memory; set by the provider."""


class SecretFiles:
    """Files in a folder of this node's own, for as long as its processes need them.

    Args:
        node_dir: the node's own folder; used when the provider has named none in memory.
        redactor: learns the values.
    """

    def __init__(self, *, node_dir: str, redactor: Redactor) -> None:
        self._folder = os.environ.get(FOLDER_VARIABLE) or os.path.join(node_dir, "secrets")
        self._redactor = redactor
        self._is_ours = False
        self.variables: dict[str, str] = {}
        """Where the processes find them."""

    def prepare(self, endpoint: Endpoint, order: Order) -> None:
        """Fetch the values and write them.

        Raises:
            PrepareError: one of them is not there any more, or the folder is somebody else's.
        """
        if not order.secrets:
            return
        channel = endpoint.channel()
        answer = persist(lambda: channel.get_json("/secrets"), endpoint.control)
        channel.close()
        found = {item["name"]: item for item in answer["secrets"]}
        values = {}
        for name in order.secrets:
            item = found.get(name) or {"error": f"the secret {name} was not sent"}
            if "error" in item:
                raise PrepareError("secret_unavailable", str(item["error"]))
            values[name] = base64.b64decode(item["value"])
            self._redactor.learn(name, values[name])
        self._make_folder()
        for name, value in values.items():
            path = inside(self._folder, name)
            _write(path, value)
            self.variables[f"TRAINWRIGHT_SECRET_{name}_FILE"] = path

    def wipe(self) -> None:
        """Remove the files; nothing happens when there are none."""
        if not self._is_ours:
            return
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make_folder(self) -> None:
        try:
            os.mkdir(self._folder, 0o700)
        except FileExistsError:
            found = os.lstat(self._folder)
            is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if not is_ours or stat.S_IMODE(found.st_mode) & 0o077:
                message = f"{self._folder} is not a folder of this user's alone"
                raise PrepareError("secrets_folder_unsafe", message) from None
            for name in os.listdir(self._folder):
                os.unlink(os.path.join(self._folder, name))
        self._is_ours = True


def _write(path: str, value: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(value)
