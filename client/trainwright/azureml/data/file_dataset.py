"""Datasets of files."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from trainwright.azureml._unsupported import leave_aside
from trainwright.azureml.data.abstract_dataset import AbstractDataset, DatasetError, not_lazily
from trainwright.azureml.data.dataset_consumption_config import DatasetConsumptionConfig
from trainwright.azureml.exceptions import NotSupported, UserErrorException, raised_as
from trainwright.downloads import download_file, safe_target


class FileDataset(AbstractDataset):
    """Files by their web addresses; a registered version has them for good."""

    def to_path(self) -> list[str]:
        """Return the paths of all files as a run sees them below the dataset's folder."""
        return [f"/{one['path']}" for one in self._files()]

    def download(
        self,
        target_path: str | None = None,
        overwrite: bool = False,
        ignore_not_found: bool = False,
    ) -> list[str]:
        """Download all files.

        Args:
            target_path: folder; None: one is made below the current one, named as the dataset.
            overwrite: replace files that are there with other content.
            ignore_not_found: a registered version has all its files, so it changes nothing.

        Returns:
            The paths on this machine.

        Raises:
            UserErrorException: it is not registered, or a file is there already.
        """
        workspace, name = self.registration()
        leave_aside(
            "FileDataset.download",
            "A version has all its files.",
            ignore_not_found=ignore_not_found,
        )
        folder = Path(target_path) if target_path else Path(name)
        connection = workspace.connection
        files = self._files()
        targets = [safe_target(folder, one["path"]) for one in files]
        taken = [target for target in targets if target.exists()]
        if taken and not overwrite:
            raise UserErrorException(f"{taken[0]} is there already; overwrite=True replaces it.")
        root = connection.path("datasets", name, "versions", self._read["version"], "files")
        with raised_as(DatasetError):
            for one, target in zip(files, targets, strict=True):
                path = "/".join([root, *_segments(connection, one["path"])])
                download_file(
                    connection, path, target, size_bytes=one["size_bytes"], sha256=one["sha256"]
                )
        return [str(target) for target in targets]

    def mount(self, mount_point: str | None = None, **kwargs: Any) -> "MountContext":
        """Make its files visible in a folder: they are downloaded there."""
        return MountContext(self, Path(mount_point or f".mounts/{self.name}"))

    def as_mount(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """Make it an input of a run, which sees its files in a folder."""
        return DatasetConsumptionConfig(None, self).as_mount(path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """Make it an input of a run, which gets a copy of its files."""
        return DatasetConsumptionConfig(None, self).as_download(path_on_compute)

    def skip(self, count: int) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise not_lazily("FileDataset.skip")

    def take(self, count: int) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise not_lazily("FileDataset.take")

    def random_split(self, percentage: float, seed: int | None = None) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise not_lazily("FileDataset.random_split")

    def as_hdfs(self) -> NoReturn:
        """Refuse: there is no Spark here."""
        raise NotSupported("FileDataset.as_hdfs: there is no Spark here; use as_mount().")

    def _files(self) -> list[dict[str, Any]]:
        workspace, name = self.registration()
        connection = workspace.connection
        path = connection.path("datasets", name, "versions", self._read["version"], "files")
        with raised_as(DatasetError):
            return list(connection.pages(path))


class MountContext:
    """A folder that has the files while it is entered; before and after, there is none.

    Attributes:
        mount_point: the folder.
    """

    def __init__(self, dataset: FileDataset, folder: Path) -> None:
        self._dataset = dataset
        self._folder = folder
        self._is_started = False
        self.mount_point = str(folder.absolute())

    def start(self) -> None:
        """Put the files there.

        Raises:
            UserErrorException: something is there that would be lost.
        """
        if not self._is_started and _holds_something(self._folder):
            raise UserErrorException(
                f"{self.mount_point} is not an empty folder: mount elsewhere, or remove it."
            )
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._is_started = True
            self._dataset.download(str(self._folder), overwrite=True)
            undo.pop_all()

    def stop(self) -> None:
        """Remove the folder that `start` made."""
        if self._is_started:
            self._is_started = False
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "MountContext":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _holds_something(folder: Path) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return folder.is_symlink() or folder.exists()
    return any(folder.iterdir())


def _segments(connection: Any, path: str) -> list[str]:
    whole: str = connection.server_path(*path.split("/"))
    return whole.removeprefix("/v1/").split("/")
