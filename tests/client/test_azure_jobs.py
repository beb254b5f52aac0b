"""A job.yml of Azure ML's command line, submitted as it is."""

from pathlib import Path

import pytest

from tests.client.program import Program
from trainwright.connection import Connection

JOB = """\
$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json
command: python train.py --epochs ${{inputs.epochs}} --out ${{outputs.model}}
code: src
inputs: {epochs: 2}
outputs: {model: {type: uri_folder}}
environment:
  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04
  conda_file: conda.yml
compute: azureml:cpu
tags: {kind: azure}
"""
CONDA = "dependencies: [python=3.11, {pip: [azureml-mlflow, idna==3.10]}]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the file of a job, with its source and conda file beside it."""
    folder = tmp_path / "from-azure"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "train.py").write_text("print(1)")
    (folder / "conda.yml").write_text(CONDA)
    (folder / "job.yml").write_text(JOB)
    return folder / "job.yml"


def test_a_job_file_of_azures_becomes_a_run(
    program: Program, connection: Connection, file: Path
) -> None:
    program.run("cluster", "create", "cpu", "--vm-size", "small")
    done = program.run("submit", file, "--detach", "--tag", "mine=yes", "--nodes", "2")
    run = connection.get(connection.path("runs", done.stdout.strip()))
    assert run["experiment_name"] == "src"
    assert run["tags"] == {"kind": "azure", "mine": "yes"}
    assert run["node_count"] == 2
    command = "mkdir -p outputs/model && python train.py --epochs 2 --out outputs/model"
    assert run["request"]["command"] == command
    assert run["request"]["environment"]["pip_packages"] == ["idna==3.10"]
    path = connection.path("snapshots", run["snapshot_id"], "files")
    assert [one["path"] for one in connection.get(path)["items"]] == ["train.py"]
    assert "azureml-mlflow" in done.stderr
    assert "/outputs/model" in done.stderr


def test_what_cannot_be_is_told_with_its_place(program: Program, file: Path) -> None:
    file.write_text(JOB + "limits: {timeout: soon}\ntrial: {x: 1}\n")
    done = program.run("submit", file, "--cluster", "cpu", code=2)
    assert "/job/limits/timeout" in done.stderr
    assert "/job/trial" in done.stderr
    (file.parent / "conda.yml").unlink()
    file.write_text(JOB)
    assert "conda.yml cannot be read" in program.run("submit", file, code=2).stderr
