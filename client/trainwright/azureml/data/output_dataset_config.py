"""Outputs that become datasets, which have no counterpart."""

from typing import Any

from trainwright.azureml.exceptions import NotSupported


class OutputFileDatasetConfig:
    """Every use says what to do instead."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotSupported(
            "OutputFileDatasetConfig: write to ./outputs in the script; it is kept with the run, "
            "and run.download_files() or run.register_model() take it from there."
        )
