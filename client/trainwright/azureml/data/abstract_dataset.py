"""What all datasets have: a name and versions once they are registered, tags, being an input."""

import hashlib
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from trainwright.azureml.data.dataset_consumption_config import DatasetConsumptionConfig
from trainwright.azureml.exceptions import NotSupported, UserErrorException, raised_as
from trainwright.azureml.exceptions import ServiceException as _ServiceException

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace

_REGISTER_SECONDS = 45
_POLL_SECONDS = 1.0
_Kind = TypeVar("_Kind", bound="AbstractDataset")


class DatasetError(_ServiceException, UserErrorException):
    """The server refuses a dataset, or has none of that name."""


class AbstractDataset:
    """A dataset; registered or not yet.

    Args:
        urls: addresses of its files, while it is not registered.
        datastore: where its files are, instead of web addresses.
        paths: files, folders and patterns in it.
        workspace: where it is registered.
        read: the version, as the API shows it.
    """

    def __init__(
        self,
        *,
        urls: Sequence[str] = (),
        datastore: str | None = None,
        paths: Sequence[str] = (),
        workspace: "Workspace | None" = None,
        read: dict[str, Any] | None = None,
    ) -> None:
        self._urls = list(urls)
        self._datastore = datastore
        self._paths = list(paths)
        self._workspace = workspace
        self._read = read or {}

    @classmethod
    def get_by_name(cls, workspace: "Workspace", name: str, version: int | str = "latest") -> Self:
        """Return a registered dataset.

        Raises:
            UserErrorException: there is none, or not that version.
        """
        return registered(cls, workspace, name, version)

    @classmethod
    def get_by_id(cls, workspace: "Workspace", id: str) -> Self:
        """Return the registered dataset with an id, which is NAME:VERSION."""
        name, _, version = id.rpartition(":")
        return registered(cls, workspace, name, version)

    @property
    def name(self) -> str | None:
        """Its name; None while it is not registered."""
        return self._read.get("name")

    @property
    def version(self) -> int | None:
        """Its version; None while it is not registered."""
        return self._read.get("version")

    @property
    def id(self) -> str | None:
        """NAME:VERSION; None while it is not registered."""
        return f"{self.name}:{self.version}" if self._read else None

    @property
    def description(self) -> str | None:
        """In words."""
        return self._read.get("description")

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return dict(self._read.get("tags") or {})

    def as_named_input(self, name: str) -> DatasetConsumptionConfig:
        """Make it an input of a run, under a name; say next how: `as_mount()`, `.as_download()`."""
        return DatasetConsumptionConfig(name, self)

    def register(
        self,
        workspace: "Workspace",
        name: str,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        create_new_version: bool = False,
    ) -> Self:
        """Register it: its files are fetched, and this version keeps them for good.

        Args:
            workspace: where.
            name: its name.
            description: in words.
            tags: tags to put on it.
            create_new_version: make a new version where there is one with other content; content
                that the latest version has already makes none.

        Returns:
            The registered dataset.

        Raises:
            UserErrorException: the files cannot be fetched, or others are registered by that name.
        """
        if self._read:
            raise UserErrorException(f"It is registered already, as {self.name!r}.")
        connection = workspace.connection
        body = {
            "name": name,
            "description": description or "",
            "tags": tags or {},
            **self._sources(),
        }
        with raised_as(DatasetError):
            if not create_new_version and self._urls:
                self._refuse_other_content(workspace, name)
            answer = connection.request(
                "POST",
                connection.path("datasets"),
                json=body,
                headers={"Prefer": f"wait={_REGISTER_SECONDS}"},
            )
            made = answer.json()
            while made.get("state") == "Pending":
                time.sleep(_POLL_SECONDS)
                made = connection.get(
                    connection.path("datasets", name, "registrations", made["id"])
                )
        if made.get("state") == "Failed":
            problem = made["error"]
            raise DatasetError(str(problem.get("detail") or problem.get("message") or problem))
        return registered(type(self), workspace, name, made["version"])

    def _refuse_other_content(self, workspace: "Workspace", name: str) -> None:
        connection = workspace.connection
        names = {one["name"] for one in connection.pages(connection.path("datasets"))}
        if name not in names:
            return
        # Of one version, however many pages: meanwhile another may become the latest.
        latest = connection.get(connection.path("datasets", name, "versions", "latest"))
        path = connection.path("datasets", name, "versions", latest["version"], "files")
        if sorted(one["url"] for one in connection.pages(path)) != sorted(self._urls):
            raise UserErrorException(
                f"There is a dataset {name!r} with other files; register with "
                "create_new_version=True to make a new version of it."
            )

    def add_tags(self, tags: dict[str, str] | None = None) -> dict[str, str]:
        """Add tags to the registered dataset, and return all it has."""
        workspace, name = self.registration()
        connection = workspace.connection
        path = connection.path("datasets", name)
        with raised_as(DatasetError):
            merged = {**connection.get(path)["tags"], **(tags or {})}
            connection.patch(path, {"tags": merged})
        self._read["tags"] = merged
        return merged

    def unregister_all_versions(self) -> None:
        """Take the dataset out of the workspace; runs keep what they read."""
        workspace, name = self.registration()
        with raised_as(DatasetError):
            workspace.connection.delete(workspace.connection.path("datasets", name))

    def registration(self) -> "tuple[Workspace, str]":
        """Where it is registered, and its name.

        Raises:
            UserErrorException: it is not registered yet.
        """
        if self._workspace is None or self.name is None:
            raise UserErrorException("Register the dataset first: dataset.register(ws, NAME).")
        return self._workspace, self.name

    def ensured_in(self, workspace: "Workspace") -> Self:
        """The registered dataset; one that is not is registered under a name made of its files."""
        if self._read:
            return self
        digest = hashlib.sha256(json.dumps(self._sources()).encode()).hexdigest()
        return self.register(workspace, f"unnamed-{digest[:12]}")

    def _sources(self) -> dict[str, Any]:
        if self._datastore is None:
            return {"urls": self._urls}
        return {"datastore": self._datastore, "paths": self._paths}

    def __repr__(self) -> str:
        if not self._read and self._datastore is not None:
            return f"{type(self).__name__}({self._datastore!r}, {self._paths!r}, not registered)"
        if not self._read:
            return f"{type(self).__name__}({len(self._urls)} addresses, not registered)"
        return f"{type(self).__name__}(name={self.name!r}, version={self.version})"


def registered(kind: type[_Kind], workspace: "Workspace", name: str, version: int | str) -> _Kind:
    """Return a registered version of a dataset.

    Raises:
        UserErrorException: there is none.
    """
    connection = workspace.connection
    with raised_as(DatasetError):
        read = connection.get(connection.path("datasets", name, "versions", version))
    return kind(workspace=workspace, read=read)


def all_datasets(kind: type[_Kind], workspace: "Workspace") -> dict[str, _Kind]:
    """All registered datasets in their latest versions, by name."""
    connection = workspace.connection
    with raised_as(DatasetError):
        names = [
            one["name"]
            for one in connection.pages(connection.path("datasets"))
            if one["latest_version"]
        ]
    return {name: registered(kind, workspace, name, "latest") for name in names}


def not_lazily(what: str) -> NotSupported:
    """What is said where v1 would have made another dataset of a part of this one."""
    return NotSupported(
        f"{what}: datasets are whole here; choose among the files in the script, or register the "
        "addresses that you want."
    )
