"""Volumes with the content of inputs, which any number of nodes mount read-only."""

from collections.abc import Iterable
from typing import Any

from docker.errors import APIError
from docker.types import Mount

from app.providers.base import NotYetRemoved, VolumeMissing
from app.providers.docker.container import INPUT_LABEL, OWNER_LABEL
from app.providers.docker.engine import CONFLICT, NOT_FOUND, is_status

_PLACE = "/content"


class InputContent:
    """The input volumes of one installation on one engine."""

    def __init__(self, owner: str) -> None:
        """Keep the installation that all of them belong to."""
        self._labels = {OWNER_LABEL: owner}

    def fill(self, client: Any, name: str, archive: Iterable[bytes], *, image: str) -> None:
        """Make the volume anew with what the archive holds.

        The engine takes files only through a container: one is made and never started.

        Args:
            client: of the engine.
            name: of the volume, and of the container for the moment.
            archive: a tar stream; what it raises is passed on, and the volume is gone then.
            image: anything that the engine holds.
        """
        self.discard(client, name)
        client.create_volume(name, labels=self._labels | {INPUT_LABEL: name})
        host = client.create_host_config(
            mounts=[Mount(target=_PLACE, source=name, type="volume", no_copy=True)],
            network_mode="none",
            cap_drop=["ALL"],
        )
        is_filled = False
        try:
            client.create_container(
                image, ["true"], name=name, labels=self._labels, host_config=host
            )
            client.put_archive(name, _PLACE, archive)
            is_filled = True
        finally:
            _remove_container(client, name)
            if not is_filled:
                self.discard(client, name)

    def discard(self, client: Any, name: str) -> None:
        """Remove the volume; "already gone" is success.

        Raises:
            NotYetRemoved: a container uses it.
        """
        if not self._is_ours(client, name):
            return
        _remove_container(client, name)
        try:
            client.remove_volume(name)
        except APIError as error:
            if is_status(error, CONFLICT):
                raise NotYetRemoved(name) from error
            if not is_status(error, NOT_FOUND):
                raise

    def require(self, client: Any, name: str) -> None:
        """See to it that a mount of the volume does not make an empty one.

        Raises:
            VolumeMissing: there is none of ours.
        """
        if not self._is_ours(client, name):
            raise VolumeMissing(name)

    def names(self, client: Any) -> list[str]:
        """All that there are."""
        labels = [INPUT_LABEL, *(f"{key}={value}" for key, value in self._labels.items())]
        found = client.volumes(filters={"label": labels})["Volumes"] or []
        return sorted(volume["Name"] for volume in found)

    def _is_ours(self, client: Any, name: str) -> bool:
        try:
            found = client.inspect_volume(name)["Labels"] or {}
        except APIError as error:
            if is_status(error, NOT_FOUND):
                return False
            raise
        return bool(found.items() >= (self._labels | {INPUT_LABEL: name}).items())


def _remove_container(client: Any, name: str) -> None:
    try:
        client.remove_container(name, force=True)
    except APIError as error:
        if not is_status(error, NOT_FOUND):
            raise
