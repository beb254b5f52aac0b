"""Workspace, experiments, runs, data, environments and models, by their names in the v1 SDK."""

from trainwright.azureml.core.compute import ComputeTarget
from trainwright.azureml.core.dataset import Dataset
from trainwright.azureml.core.datastore import Datastore
from trainwright.azureml.core.environment import Environment
from trainwright.azureml.core.experiment import Experiment
from trainwright.azureml.core.model import Model
from trainwright.azureml.core.run import Run
from trainwright.azureml.core.runconfig import RunConfiguration
from trainwright.azureml.core.script_run import ScriptRun
from trainwright.azureml.core.script_run_config import ScriptRunConfig
from trainwright.azureml.core.webservice import Webservice
from trainwright.azureml.core.workspace import Workspace

VERSION = "1.62.0"
"""The version of the SDK whose names these are."""

__all__ = [
    "VERSION",
    "ComputeTarget",
    "Dataset",
    "Datastore",
    "Environment",
    "Experiment",
    "Model",
    "Run",
    "RunConfiguration",
    "ScriptRun",
    "ScriptRunConfig",
    "Webservice",
    "Workspace",
]
