"""Datasets by the names of `azureml.core.dataset`."""

from typing import TYPE_CHECKING

from trainwright.azureml.data.abstract_dataset import all_datasets, registered
from trainwright.azureml.data.dataset_factory import FileDatasetFactory, TabularDatasetFactory
from trainwright.azureml.data.file_dataset import FileDataset
from trainwright.azureml.exceptions import NotSupported

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace


class Dataset:
    """Where datasets come from: `Dataset.File.from_files(...)`, `Dataset.get_by_name(...)`."""

    File = FileDatasetFactory
    Tabular = TabularDatasetFactory

    @staticmethod
    def get_by_name(
        workspace: "Workspace", name: str, version: int | str = "latest"
    ) -> FileDataset:
        """Return a registered dataset.

        Raises:
            UserErrorException: there is none, or not that version.
        """
        return registered(FileDataset, workspace, name, version)

    @staticmethod
    def get_by_id(workspace: "Workspace", id: str) -> FileDataset:
        """Return the registered dataset with an id.

        Raises:
            UserErrorException: there is none.
        """
        name, _, version = id.rpartition(":")
        if not name:
            raise NotSupported(f"An id here is NAME:VERSION, unlike {id!r}; use get_by_name.")
        return registered(FileDataset, workspace, name, version)

    @staticmethod
    def get_all(workspace: "Workspace") -> dict[str, FileDataset]:
        """Return all registered datasets, each in its latest version, by name."""
        return all_datasets(FileDataset, workspace)
