"""Datastores: places where data lies already, by their names in the v1 SDK."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from trainwright.azureml._unsupported import leave_aside, refuse
from trainwright.azureml.data.data_reference import DataReference
from trainwright.azureml.exceptions import NotSupported, UserErrorException, raised_as
from trainwright.azureml.exceptions import ServiceException as _ServiceException
from trainwright.downloads import safe_target

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace

_TYPES = {
    "azure_blob": "AzureBlob",
    "s3": "AmazonS3",
    "gcs": "GoogleCloudStorage",
    "folder": "Folder",
    "http": "Web",
}
_CHUNK_BYTES = 1024 * 1024


class DatastoreError(_ServiceException, UserErrorException):
    """The server refuses a datastore, or has none of that name."""


class Datastore:
    """A place for data that the workspace knows by a name.

    Args:
        workspace: where it is registered.
        name: None: the default one.
    """

    def __init__(self, workspace: "Workspace", name: str | None = None) -> None:
        self.workspace = workspace
        self._read = _default(workspace) if name is None else _read(workspace, name)

    @classmethod
    def get(cls, workspace: "Workspace", datastore_name: str) -> "Datastore":
        """Return the datastore of a name.

        Raises:
            UserErrorException: there is none.
        """
        return cls(workspace, datastore_name)

    @classmethod
    def get_default(cls, workspace: "Workspace") -> "Datastore":
        """Return the datastore that is meant where none is named.

        Raises:
            UserErrorException: there is none; says how to make one.
        """
        return cls(workspace)

    @classmethod
    def register_azure_blob_container(
        cls,
        workspace: "Workspace",
        datastore_name: str,
        container_name: str,
        account_name: str,
        sas_token: str | None = None,
        account_key: str | None = None,
        protocol: str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        create_if_not_exists: bool = False,
        skip_validation: bool = False,
        blob_cache_timeout: int | None = None,
        grant_workspace_access: bool = False,
        subscription_id: str | None = None,
        resource_group: str | None = None,
    ) -> "Datastore":
        """Register a container of Azure Blob, with its credentials.

        Args:
            workspace: where.
            datastore_name: its name there.
            container_name: the container.
            account_name: of the storage.
            sas_token: what opens it, or
            account_key: this; without both, it is asked as anybody may.
            protocol: https, or http for a server of one's own.
            endpoint: the part of the address after the account, such as `core.windows.net`; or a
                whole address, which the operator has to have opened.
            overwrite: change the one that is there.
            create_if_not_exists: has no counterpart.
            skip_validation: it is looked at when it is used.
            blob_cache_timeout: nothing is cached.
            grant_workspace_access, subscription_id, resource_group: only mean something in Azure.

        Raises:
            UserErrorException: there is one of that name, or the server refuses it.
        """
        where = "Datastore.register_azure_blob_container"
        refuse(
            where, "Make the container where the account is.",
            create_if_not_exists=create_if_not_exists,
        )  # fmt: skip
        leave_aside(
            where, "It has no meaning outside of Azure.", blob_cache_timeout=blob_cache_timeout,
            grant_workspace_access=grant_workspace_access, subscription_id=subscription_id,
            resource_group=resource_group,
        )  # fmt: skip
        del skip_validation
        connection = workspace.connection
        path = connection.path("datastores", datastore_name)
        if not overwrite and datastore_name in workspace.datastores:
            raise UserErrorException(
                f"There is a datastore {datastore_name!r}; overwrite=True changes it."
            )
        address = endpoint
        if endpoint is not None and "://" not in endpoint:
            address = f"{protocol or 'https'}://{account_name}.blob.{endpoint}"
        given = {"account_key": account_key, "sas_token": sas_token}
        credentials = {key: value for key, value in given.items() if value}
        body = {
            "place": {
                "kind": "azure_blob",
                "account_name": account_name,
                "container": container_name,
                "endpoint": address,
            },
            "credentials": credentials or None,
        }
        with raised_as(DatastoreError):
            connection.put(path, body)
        return cls(workspace, datastore_name)

    @staticmethod
    def register_azure_file_share(*args: Any, **kwargs: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise _no_such_kind("register_azure_file_share")

    @staticmethod
    def register_azure_data_lake(*args: Any, **kwargs: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise _no_such_kind("register_azure_data_lake")

    @staticmethod
    def register_azure_data_lake_gen2(*args: Any, **kwargs: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise _no_such_kind("register_azure_data_lake_gen2")

    @staticmethod
    def register_azure_sql_database(*args: Any, **kwargs: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise _no_such_kind("register_azure_sql_database")

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._read["name"])

    @property
    def datastore_type(self) -> str:
        """What it is; `AzureBlob` where it is that."""
        return _TYPES[self._read["place"]["kind"]]

    @property
    def container_name(self) -> str | None:
        """The container, or the bucket."""
        place = self._read["place"]
        found: str | None = place.get("container") or place.get("bucket")
        return found

    @property
    def account_name(self) -> str | None:
        """Of the storage, where it has one."""
        found: str | None = self._read["place"].get("account_name")
        return found

    def path(self, path: str | None = None, data_path_compute_binding: Any = None) -> DataReference:
        """Return a reference to a file or folder in it, for a run's arguments."""
        refuse(
            "Datastore.path", "Say how the run gets it with .as_mount() or .as_download().",
            data_path_compute_binding=data_path_compute_binding,
        )  # fmt: skip
        return DataReference(self, path_on_datastore=path)

    def as_mount(self) -> DataReference:
        """Return a reference to all of it, which a run sees in a folder."""
        return self.path().as_mount()

    def as_download(self, path_on_compute: str | None = None) -> DataReference:
        """Return a reference to all of it, of which a run gets a copy."""
        return self.path().as_download(path_on_compute)

    def as_upload(self, path_on_compute: str | None = None) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported("Datastore.as_upload: a run keeps what is in ./outputs.")

    def upload(
        self,
        src_dir: str,
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> DataReference:
        """Upload the files of a folder.

        Args:
            src_dir: the folder on this machine.
            target_path: the folder in the datastore.
            overwrite: replace files that are there; else they are left as they are.
            show_progress: print each file's name.

        Returns:
            A reference to the folder in the datastore.
        """
        root = Path(src_dir)
        if not root.is_dir():
            raise UserErrorException(f"There is no folder {root.absolute()}.")
        files = sorted(str(file) for file in root.rglob("*") if file.is_file())
        return self.upload_files(files, str(root), target_path, overwrite, show_progress)

    def upload_files(
        self,
        files: Sequence[str],
        relative_root: str | None = None,
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> DataReference:
        """Upload files.

        Args:
            files: their paths on this machine.
            relative_root: what is left out of these; None: the folder that they have in common.
            target_path, overwrite, show_progress: as of `upload`.

        Returns:
            A reference to the folder in the datastore.
        """
        folder = (target_path or "").replace(os.sep, "/").strip("/")
        paths = [Path(file).absolute() for file in files]
        for path in paths:
            if not path.is_file():
                raise UserErrorException(f"There is no file {path}.")
        root = Path(relative_root or _common_folder(paths)).absolute()
        there = set() if overwrite else {path for path, _ in self._files(folder)}
        for path in paths:
            try:
                below = path.relative_to(root).as_posix()
            except ValueError as error:
                raise UserErrorException(f"{path} is not below {root}.") from error
            target = f"{folder}/{below}" if folder else below
            if target in there:
                _say(f"{target} is there already: left as it is", show_progress)
                continue
            _say(f"Uploading {path}", show_progress)
            with raised_as(DatastoreError):
                self.workspace.connection.request(
                    "PUT",
                    self._file_path(target),
                    content=lambda path=path: _chunks(path),
                    headers={"Content-Type": "application/octet-stream"},
                )
        return self.path(folder or None)

    def download(
        self,
        target_path: str,
        prefix: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> int:
        """Download files.

        Args:
            target_path: the folder on this machine.
            prefix: only what is under this path; None: all.
            overwrite: replace files that are there; else they are left as they are.
            show_progress: print each file's name.

        Returns:
            How many were downloaded.
        """
        count = 0
        for path, _ in self._files((prefix or "").strip("/")):
            target = safe_target(Path(target_path), path)
            if target.exists() and not overwrite:
                continue
            _say(f"Downloading {path}", show_progress)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.partial")
            connection = self.workspace.connection
            with (
                raised_as(DatastoreError),
                connection.stream("GET", self._file_path(path)) as answer,
                part.open("wb") as file,
            ):
                for chunk in answer.iter_bytes(_CHUNK_BYTES):
                    file.write(chunk)
            part.replace(target)
            count += 1
        return count

    def set_as_default(self) -> None:
        """Make it the one that is meant where none is named."""
        body = {
            "place": self._read["place"],
            "description": self._read["description"],
            "is_default": True,
        }
        connection = self.workspace.connection
        with raised_as(DatastoreError):
            self._read = connection.put(connection.path("datastores", self.name), body)

    def unregister(self) -> None:
        """Forget it, and its credentials; its files stay."""
        connection = self.workspace.connection
        with raised_as(DatastoreError):
            connection.delete(connection.path("datastores", self.name))

    def _files(self, folder: str) -> list[tuple[str, int]]:
        """Files in a folder, or the file of that name."""
        connection = self.workspace.connection
        with raised_as(DatastoreError):
            answer = connection.get(
                connection.path("datastores", self.name, "files"),
                params={"prefix": folder, "limit": 10_000},
            )
        if not answer["is_complete"]:
            raise UserErrorException(
                f"There are more than 10,000 files below {folder!r} in {self.name}: name a folder"
                " with fewer."
            )
        found = [(one["path"], one["size_bytes"]) for one in answer["items"]]
        return [
            one for one in found
            if not folder or one[0] == folder or one[0].startswith(f"{folder}/")
        ]  # fmt: skip

    def _file_path(self, path: str) -> str:
        return self.workspace.connection.path("datastores", self.name, "files", *path.split("/"))

    def __repr__(self) -> str:
        return f"Datastore(name={self.name!r}, datastore_type={self.datastore_type!r})"


def all_datastores(workspace: "Workspace") -> dict[str, Datastore]:
    """All datastores of a workspace by name."""
    connection = workspace.connection
    with raised_as(DatastoreError):
        names = [one["name"] for one in connection.pages(connection.path("datastores"))]
    return {name: Datastore(workspace, name) for name in names}


def _read(workspace: "Workspace", name: str) -> dict[str, Any]:
    connection = workspace.connection
    with raised_as(DatastoreError):
        found: dict[str, Any] = connection.get(connection.path("datastores", name))
    return found


def _default(workspace: "Workspace") -> dict[str, Any]:
    connection = workspace.connection
    with raised_as(DatastoreError):
        for one in connection.pages(connection.path("datastores")):
            if one["is_default"]:
                return one
    raise UserErrorException(
        "The workspace has no default datastore: register one (docs/datastores.md, or "
        "Datastore.register_azure_blob_container) and call its set_as_default()."
    )


def _no_such_kind(name: str) -> NotSupported:
    return NotSupported(
        f"Datastore.{name}: datastores are folders, buckets (Azure Blob, S3, Google) and web "
        "servers; see docs/datastores.md."
    )


def _common_folder(paths: Sequence[Path]) -> str:
    if not paths:
        raise UserErrorException("Name at least one file.")
    return os.path.commonpath([path.parent for path in paths])


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _say(words: str, is_wanted: bool) -> None:
    if is_wanted:
        print(words)
