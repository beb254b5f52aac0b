"""The error that the create-or-reuse idiom catches."""

from trainwright.azureml.exceptions import ComputeTargetException

__all__ = ["ComputeTargetException"]
