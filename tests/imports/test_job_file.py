"""The job.yml of the v2 command line, sent as YAML or as JSON."""

import time
from typing import Any

import pytest
import yaml

from app.imports.schemas import RunImport
from app.imports.service import translate
from app.imports.yaml_text import MAX_YAML_BYTES, read_yaml
from app.kernel.errors import Invalid
from tests.imports.documents import JOB_FILE

HEAD = "command: python a.py\nenvironment: azureml:AzureML-tensorflow-2.16-cuda12@latest\n"
HEAD += "compute: azureml:cpu\n"


def imported(text: str, **more: Any) -> RunImport:
    return RunImport(job=text, snapshot_id="snap_1", **more)


def test_a_job_file_becomes_a_run() -> None:
    run, translation = translate(imported(JOB_FILE))
    asked = run.model_dump(mode="json", exclude_unset=True)
    environment = asked.pop("environment")
    digits = {"dataset": "digits", "version": 3, "mode": "download"}
    assert asked == {
        "experiment_name": "from-a-file",
        "snapshot_id": "snap_1",
        "cluster_name": "gpu-cluster",
        "display_name": "shown",
        "description": "a job",
        "command": "mkdir -p outputs/model && python train.py --data ${{inputs.digits}} "
        "--epochs 2 --rate 0.5 --out outputs/model",
        "inputs": {"digits": digits},
        "environment_variables": {"COUNT": "1"},
        "node_count": 2,
        "distribution": {"type": "multi_worker", "worker_count": 2},
        "max_run_duration_seconds": 900,
        "tags": {"year": "2022"},
        "shm_size": "4g",
    }
    assert (environment["framework"], environment["framework_version"]) == ("tensorflow", "2.15.0")
    assert (environment["python_version"], environment["pip_packages"]) == ("3.11", ["pillow"])
    assert [one["code"] for one in translation.warnings] == [
        "output_is_a_folder", "base_image_ignored", "azure_packages_dropped",
    ]  # fmt: skip
    assert [one["pointer"] for one in translation.warnings] == [
        "/job/outputs/model", "/job/environment/image",
        "/job/environment/conda_file/dependencies",
    ]  # fmt: skip


def test_yaml_and_json_say_the_same() -> None:
    as_json = imported(JOB_FILE).model_copy(update={"job": yaml.safe_load(JOB_FILE)})
    assert translate(as_json)[0] == translate(imported(JOB_FILE))[0]


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ("distribution: {type: ray}", "/job/distribution/type", "literal_error"),
        ("distribution: {type: mpi, gpus: 4}", "/job/distribution/gpus", "import_unsupported"),
        ("resources: {instance_count: many}", "/job/resources/instance_count", "int_parsing"),
        ("resources: {instance_count: 1000}", "/job/resources/instance_count", "less_than_equal"),
        ("limits: {timeout: soon}", "/job/limits/timeout", "duration_invalid"),
        ("inputs: {d: {type: uri_folder, path: 'https://example.org/d/'}}",
         "/job/inputs/d/path", "dataset_needed"),
        ("inputs: {d: {type: mltable, path: 'azureml:d:1'}}",
         "/job/inputs/d/type", "import_unsupported"),
        ("outputs: {m: {path: 'azureml://datastores/x'}}",
         "/job/outputs/m/path", "import_unsupported"),
        ("resources: {docker_args: --ipc=host}",
         "/job/resources/docker_args", "import_unsupported"),
        ("limits: {max_trials: 3}", "/job/limits/max_trials", "import_unsupported"),
        ("type: sweep", "/job/type", "literal_error"),
        ("trial: {command: x}", "/job/trial", "import_unsupported"),
        ("environment: {image: 'docker.io/python:3.8'}",
         "/job/environment/image", "import_unsupported"),
        ("environment: {image: x, conda_file: conda.yml}",
         "/job/environment/conda_file", "conda_file_missing"),
        ("command: echo ${{outputs.no}}", "/job/command", "unknown_placeholder"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named_where_it_stands(change: str, pointer: str, code: str) -> None:
    job = yaml.safe_load(HEAD) | yaml.safe_load(change)
    with pytest.raises(Invalid) as caught:
        translate(imported(yaml.safe_dump(job)))
    assert [(one.pointer, one.code) for one in caught.value.errors] == [(pointer, code)]


def test_a_command_that_its_inputs_would_make_huge_is_refused() -> None:
    job = yaml.safe_load(HEAD) | {"command": "${{inputs.a}}" * 2_000, "inputs": {"a": "y" * 20}}
    body = imported("").model_copy(update={"job": job})
    with pytest.raises(Invalid) as caught:
        translate(body)
    assert [one.code for one in caught.value.errors] == ["command_too_long"]


def test_everything_that_cannot_be_is_named_at_once() -> None:
    more = "trial: {x: 1}\noutputs: {m: {path: x}}\nlimits: {timeout: soon}\n"
    with pytest.raises(Invalid) as caught:
        translate(imported(HEAD.replace("compute: azureml:cpu\n", "") + more))
    found = {one.pointer for one in caught.value.errors}
    assert found == {"/job/trial", "/job/outputs/m/path", "/job/limits/timeout", "/cluster_name"}


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "just words", "a: [", "a: 1\na: 2", "1: x", "a: !!python/object:os.system {}",
        "a: !!timestamp 2020-99-99", "? [a]\n: 1", "a: &x [1]\nb: *x", "a: \x00", "\ud800: 1",
        "[" * 100_000, "a: " + "{a: " * 1000, "a: {" + "b: 1, " * 30_000,
        "---\na: 1\n---\nb: 2\n", "a: [" + "[]," * 3_000 + "]", "<<: {a: 1}\n<<: 1",
    ],
)  # fmt: skip
def test_what_is_no_plain_yaml_is_refused_at_once(text: str) -> None:
    started = time.process_time()
    with pytest.raises(Invalid) as caught:
        read_yaml(text)
    assert time.process_time() - started < 2
    assert [one.pointer for one in caught.value.errors] == ["/job"]
    assert caught.value.errors[0].code == "yaml_invalid"


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(Invalid):
        read_yaml("\n".join(lines))


def test_the_longest_text_is_read_in_little_time() -> None:
    text = HEAD + "tags: {" + ", ".join(f"t{n}: v" for n in range(2_400)) + "}\n"
    assert len(text) < MAX_YAML_BYTES
    started = time.process_time()
    read_yaml(text)
    assert time.process_time() - started < 2
