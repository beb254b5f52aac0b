"""Jobs in the form in which Azure's clients send them."""

import copy
from typing import Any

from app.imports.schemas import RunImport

V1: dict[str, Any] = {
    "SnapshotId": "somewhere-else",
    "Configuration": {
        "script": "train.py",
        "arguments": ["--data", "DatasetConsumptionConfig:digits", "--rate", 0.5],
        "target": "cpu",
        "communicator": "None",
        "nodeCount": 1,
        "maxRunDurationSeconds": 600,
        "history": {"outputCollection": True},
        "environment": {
            "name": "mine",
            "environmentVariables": {"COLOUR": "blue"},
            "docker": {"baseImage": "registry.example/base:1", "shmSize": "2g"},
            "python": {
                "condaDependencies": {
                    "channels": ["conda-forge"],
                    "dependencies": [
                        "python=3.11.4",
                        "pip",
                        {"pip": ["azureml-defaults", "tensorflow-gpu==2.16.1", "pillow>=9"]},
                    ],
                }
            },
            "r": None,
        },
        "data": {
            "digits": {
                "dataLocation": {"dataset": {"id": "x", "name": "all digits", "version": 3}},
                "mechanism": "download",
            }
        },
    },
}
V2: dict[str, Any] = {
    "properties": {
        "jobType": "Command",
        "command": "python train.py --n ${{inputs.n}} --data ${{ inputs.data }}",
        "codeId": "/subscriptions/s/codes/c/versions/1",
        "computeId": "/subscriptions/s/computes/cpu",
        "experimentName": "second",
        "environmentId": "azureml:AzureML-tensorflow-2.16-cuda12@latest",
        "inputs": {
            "n": {"jobInputType": "literal", "value": "7"},
            "data": {"jobInputType": "uri_folder", "uri": "azureml:digits:2", "mode": "Download"},
        },
        "limits": {"jobLimitsType": "Command", "timeout": "PT1H30M"},
        "resources": {"instanceCount": 1, "shmSize": "4g"},
        "tags": {"a": "b"},
    }
}

JOB_FILE = """\
$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json
type: command
code: src
command: >-
  python train.py --data ${{inputs.digits}} --epochs ${{inputs.epochs}} --rate ${{ inputs.rate }}
  --out ${{outputs.model}}
inputs:
  digits: {type: uri_folder, path: azureml:digits:3, mode: download}
  epochs: 2
  rate: 0.5
outputs:
  model: {type: uri_folder}
environment:
  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04
  conda_file:
    channels: [conda-forge]
    dependencies:
      - python=3.11
      - pip
      - pip: [azureml-mlflow, tensorflow==2.15.0, pillow]
environment_variables: {COUNT: 1}
compute: azureml:gpu-cluster
distribution: {type: tensorflow, worker_count: 2}
resources: {instance_count: 2, shm_size: 4g}
limits: {timeout: 900}
experiment_name: from-a-file
display_name: shown
description: a job
tags: {year: 2022}
"""


def envelope(job: dict[str, Any], **more: Any) -> RunImport:
    return RunImport.model_validate({"job": job, "snapshot_id": "snap_1", **more})


def changed(job: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a job with another value at a place."""
    copied: dict[str, Any] = copy.deepcopy(job)
    *parents, last = path.split("/")
    place = copied
    for name in parents:
        place = place[name]
    place[last] = value
    return copied
