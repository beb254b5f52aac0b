"""What cannot become a run is refused with its place in the document."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from app.imports.schemas import RunImport
from app.imports.service import translate
from app.kernel.errors import Invalid
from tests.imports.documents import JOB_FILE, V1, V2, changed, envelope

_JUNK: tuple[Any, ...] = (
    None, True, -1, 2**70, math.inf, "", "a/b~c", "${{inputs.no}}", "DatasetConsumptionConfig:",
    "P", [], [None], [["x"]], {}, {"a": {"b": [1]}}, [{"pip": [None]}], {"a b": {}}, "x" * 40_000,
)  # fmt: skip


def refusal(body: RunImport) -> tuple[str, str]:
    with pytest.raises(Invalid) as caught:
        translate(body)
    first = caught.value.errors[0]
    return first.pointer, first.code


_CONFIGURATION = "Configuration"
_CONDA = f"{_CONFIGURATION}/environment/python/condaDependencies/dependencies"


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        (f"{_CONFIGURATION}/arguments", ["DatasetConsumptionConfig:no"], "arguments/0"),
        (f"{_CONFIGURATION}/arguments", [{"a": 1}], "arguments/0"),
        (f"{_CONFIGURATION}/data/digits/mechanism", "direct", "data/digits/mechanism"),
        (f"{_CONFIGURATION}/data/digits/dataLocation", {"uri": {}}, "data/digits/dataLocation"),
        (f"{_CONFIGURATION}/outputData", {"x": {}}, "outputData"),
        (f"{_CONFIGURATION}/dataReferences", {"x": {}}, "dataReferences"),
        (f"{_CONFIGURATION}/maxRunDurationSeconds", 0, "maxRunDurationSeconds"),
        (f"{_CONFIGURATION}/nodeCount", 0, "nodeCount"),
        (f"{_CONFIGURATION}/communicator", "Carrier pigeons", "communicator"),
        (f"{_CONFIGURATION}/target", "a b", "target"),
        (f"{_CONFIGURATION}/script", None, ""),
        (f"{_CONFIGURATION}/environment/python/userManagedDependencies", True,
         "environment/python/userManagedDependencies"),
        (f"{_CONFIGURATION}/environment/docker/baseDockerfile", "FROM x",
         "environment/docker/baseDockerfile"),
        (f"{_CONFIGURATION}/environment/docker/buildContext", {"locationType": "git"},
         "environment/docker/buildContext"),
        (f"{_CONFIGURATION}/docker", {"arguments": ["--ipc=host"]}, "docker/arguments"),
        (f"{_CONFIGURATION}/environment/docker/arguments", ["-v", "/:/x"],
         "environment/docker/arguments"),
        (f"{_CONFIGURATION}/environment/r", {"rVersion": "4"}, "environment/r"),
        (_CONDA, [{"pip": ["numpy", "git+https://x/y"]}],
         "environment/python/condaDependencies/dependencies/0/pip/1"),
        (_CONDA, [{"cran": ["x"]}], "environment/python/condaDependencies/dependencies/0/cran"),
        (_CONDA, ["python=2.7"], "environment/python/condaDependencies"),
    ],
)  # fmt: skip
def test_what_a_configuration_cannot_be_is_named(path: str, value: Any, pointer: str) -> None:
    found, _ = refusal(envelope(changed(V1, path, value), experiment_name="e"))
    expected = f"/job/{_CONFIGURATION}/{pointer}" if pointer else "/job"
    assert found.startswith(expected), found


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        ("properties/jobType", "Sweep", "jobType"),
        ("properties/command", "echo ${{outputs.x}}", "command"),
        ("properties/outputs", {"x": {"uri": "azureml://x"}}, "outputs/x/uri"),
        ("properties/outputs", {"x": {"jobOutputType": "mltable"}}, "outputs/x/jobOutputType"),
        ("properties/outputs", {"x y": {}}, "outputs/x y"),
        ("properties/environmentId", None, "environmentId"),
        ("properties/environmentId", "azureml:AzureML-sklearn-1.0:1", "environmentId"),
        ("properties/limits", {"timeout": "soon"}, "limits/timeout"),
        ("properties/resources", {"instanceCount": 1000}, "resources/instanceCount"),
        ("properties/distribution", {"distributionType": "Ray"}, "distribution/distributionType"),
        ("properties/inputs", {"n": {"jobInputType": "literal"}}, "command"),
        ("properties/inputs/data/uri", "https://example.org/x", "inputs/data/uri"),
        ("properties/inputs/data/mode", "Direct", "inputs/data/mode"),
        ("properties/inputs/data/jobInputType", "mltable", "inputs/data/jobInputType"),
        ("properties/surprise", {"x": 1}, "surprise"),
    ],
)  # fmt: skip
def test_what_a_job_cannot_be_is_named(path: str, value: Any, pointer: str) -> None:
    assert refusal(envelope(changed(V2, path, value)))[0] == f"/job/properties/{pointer}"


@pytest.mark.parametrize("job", [{}, {"name": "x"}, {"Configuration": 3}, {"properties": []}])
def test_other_documents_are_refused(job: dict[str, Any]) -> None:
    assert refusal(envelope(job))[0].startswith("/job")


def _places(value: Any, path: str = "") -> Iterator[str]:
    """The paths of everything in a document that has a name."""
    if isinstance(value, dict):
        for key, item in value.items():
            place = f"{path}/{key}" if path else key
            yield place
            yield from _places(item, place)


def _exists(document: Any, pointer: str) -> bool:
    """Whether a pointer leads somewhere; what is missing may be named by its last part."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for index, part in enumerate(parts):
        if isinstance(document, dict):
            if part not in document:
                return index == len(parts) - 1
            document = document[part]
        elif isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            return False
    return True


@pytest.mark.parametrize("job", [V1, V2, yaml.safe_load(JOB_FILE)], ids=["v1", "v2", "file"])
def test_whatever_stands_somewhere_gives_a_run_or_a_place(job: dict[str, Any]) -> None:
    for place in _places(job):
        for junk in _JUNK:
            body = envelope(changed(job, place, junk), experiment_name="e")
            try:
                translate(body)
            except Invalid as error:
                sent = body.model_dump(mode="python", exclude_unset=True)
                pointers = [field.pointer for field in error.errors]
                assert pointers, (place, junk)
                assert all(_exists(sent, pointer) for pointer in pointers), (place, pointers)


def test_credentials_of_a_registry_are_not_taken_from_a_document() -> None:
    registry = {"address": "registry.example", "username": "bird", "password": "fish"}
    job = changed(V1, f"{_CONFIGURATION}/environment/docker/baseImageRegistry", registry)
    with pytest.raises(Invalid) as caught:
        translate(envelope(job, experiment_name="e"), has_container_images=True)
    pointer = f"/job/{_CONFIGURATION}/environment/docker/baseImageRegistry"
    assert caught.value.errors[0].pointer == pointer
