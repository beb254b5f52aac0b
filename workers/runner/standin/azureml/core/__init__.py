"""Stand-in for the part of `azureml.core` that training scripts use inside a run.

Written from the public documentation; it contains nothing of the package of that name.
"""

from azureml.core.dataset import Dataset
from azureml.core.experiment import Experiment
from azureml.core.model import Model
from azureml.core.run import Run
from azureml.core.version import VERSION
from azureml.core.workspace import Workspace

__version__ = VERSION
__all__ = ["VERSION", "Dataset", "Experiment", "Model", "Run", "Workspace"]
