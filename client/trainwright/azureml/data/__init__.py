"""Datasets, by their names in the v1 SDK."""

from trainwright.azureml.data.file_dataset import FileDataset
from trainwright.azureml.data.output_dataset_config import OutputFileDatasetConfig

__all__ = ["FileDataset", "OutputFileDatasetConfig"]
