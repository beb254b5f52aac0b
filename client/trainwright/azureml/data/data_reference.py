"""References to paths in datastores, as arguments and inputs of runs."""

import hashlib
from typing import TYPE_CHECKING, Any, NoReturn

from trainwright.azureml._unsupported import refuse
from trainwright.azureml.data.dataset_consumption_config import (
    DOWNLOAD_MODE,
    MOUNT_MODE,
    DatasetConsumptionConfig,
)
from trainwright.azureml.data.file_dataset import FileDataset
from trainwright.azureml.exceptions import NotSupported, UserErrorException

if TYPE_CHECKING:
    from trainwright.azureml.core.datastore import Datastore


class DataReference(DatasetConsumptionConfig):
    """A file or folder in a datastore that a run sees in a folder, or has a copy of.

    When the run is submitted, what is there becomes a version of a dataset, so that it is known
    later what the run read.

    Args:
        datastore: where it is.
        data_reference_name: of the input; None: one is made of the path.
        path_on_datastore: the path; None: all of the datastore.
        mode: mount or download.
        path_on_compute: the folder; None: one is chosen.
        overwrite: has no counterpart.
    """

    def __init__(
        self,
        datastore: "Datastore",
        data_reference_name: str | None = None,
        path_on_datastore: str | None = None,
        mode: str = MOUNT_MODE,
        path_on_compute: str | None = None,
        overwrite: bool = False,
    ) -> None:
        refuse("DataReference", "A run has a folder of its own.", overwrite=overwrite)
        if mode not in (MOUNT_MODE, DOWNLOAD_MODE):
            raise UserErrorException(f"The mode is mount or download, not {mode!r}.")
        self.datastore = datastore
        self.path_on_datastore = (path_on_datastore or "").strip("/")
        place = f"{datastore.name}/{self.path_on_datastore}"
        self.data_reference_name = (
            data_reference_name or hashlib.sha256(place.encode()).hexdigest()[:32]
        )
        dataset = FileDataset(datastore=datastore.name, paths=[self.path_on_datastore or "**"])
        name = f"AZUREML_DATAREFERENCE_{self.data_reference_name}"
        super().__init__(name, dataset, mode, path_on_compute)

    def as_mount(self, path_on_compute: str | None = None) -> "DataReference":
        """The run sees it in a folder."""
        return self._as(MOUNT_MODE, path_on_compute)

    def as_download(
        self, path_on_compute: str | None = None, overwrite: bool = False
    ) -> "DataReference":
        """The run gets a copy of it."""
        refuse("DataReference.as_download", "A run has a folder of its own.", overwrite=overwrite)
        return self._as(DOWNLOAD_MODE, path_on_compute)

    def as_upload(self, path_on_compute: str | None = None, overwrite: bool = False) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported("DataReference.as_upload: a run keeps what is in ./outputs.")

    def path(
        self, path: str | None = None, data_path_compute_binding: Any = None
    ) -> "DataReference":
        """Return a reference to a path below this one."""
        refuse(
            "DataReference.path", "Say how with .as_mount() or .as_download().",
            data_path_compute_binding=data_path_compute_binding,
        )  # fmt: skip
        below = f"{self.path_on_datastore}/{path or ''}".strip("/")
        return DataReference(self.datastore, None, below, self.mode, self.path_on_compute)

    def _as(self, mode: str, path_on_compute: str | None) -> "DataReference":
        return DataReference(
            self.datastore, self.data_reference_name, self.path_on_datastore, mode, path_on_compute
        )

    def __repr__(self) -> str:
        return f"DataReference({self.datastore.name!r}, {self.path_on_datastore!r})"
