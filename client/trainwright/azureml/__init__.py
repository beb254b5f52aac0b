"""The names of Azure ML's v1 SDK on Trainwright: change `azureml` to `trainwright.azureml`."""

from trainwright.azureml import core as core
