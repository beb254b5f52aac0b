"""A dataset as an input of a run."""

import hashlib
from typing import TYPE_CHECKING, Any, NoReturn

from trainwright.azureml.exceptions import NotSupported, UserErrorException

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace
    from trainwright.azureml.data.abstract_dataset import AbstractDataset

MOUNT_MODE = "mount"
DOWNLOAD_MODE = "download"
DIRECT_MODE = "direct"
_MODES = (MOUNT_MODE, DOWNLOAD_MODE, DIRECT_MODE)


class DatasetConsumptionConfig:
    """Which dataset a run reads, under which name, and how.

    Args:
        name: of the input; the script finds the folder in the variable of that name.
        dataset: the dataset.
        mode: mount or download; direct has to become one of them before it is submitted.
        path_on_compute: the folder; None: one is chosen.
    """

    def __init__(
        self,
        name: str | None,
        dataset: "AbstractDataset",
        mode: str = DIRECT_MODE,
        path_on_compute: str | None = None,
    ) -> None:
        if mode not in _MODES:
            raise UserErrorException(f"The mode is one of {', '.join(_MODES)}, not {mode!r}.")
        self.name = name or f"input__{hashlib.sha256(repr(dataset).encode()).hexdigest()[:8]}"
        self.dataset = dataset
        self.mode = mode
        self.path_on_compute = path_on_compute

    def as_download(self, path_on_compute: str | None = None) -> "DatasetConsumptionConfig":
        """The run gets a copy of the files."""
        return DatasetConsumptionConfig(self.name, self.dataset, DOWNLOAD_MODE, path_on_compute)

    def as_mount(self, path_on_compute: str | None = None) -> "DatasetConsumptionConfig":
        """The run sees the files in a folder."""
        return DatasetConsumptionConfig(self.name, self.dataset, MOUNT_MODE, path_on_compute)

    def as_hdfs(self) -> NoReturn:
        """Refuse: there is no Spark here."""
        raise NotSupported("DatasetConsumptionConfig.as_hdfs: there is no Spark; use as_mount().")

    def to_document(self, workspace: "Workspace") -> dict[str, Any]:
        """The input as v1's RunConfiguration has it.

        Raises:
            NotSupported: it is neither mounted nor downloaded.
        """
        if self.mode == DIRECT_MODE:
            raise NotSupported(
                f"Input {self.name!r}: say how the run gets it, .as_mount() or .as_download()."
            )
        dataset = self.dataset.ensured_in(workspace)
        reference = {"id": dataset.id, "name": dataset.name, "version": dataset.version}
        return {
            "dataLocation": {"dataset": reference},
            "mechanism": self.mode,
            "environmentVariableName": self.name,
            "pathOnCompute": self.path_on_compute,
        }
