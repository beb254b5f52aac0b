"""Signatures are read from the bytes of a SavedModel alone, and bad bytes are refused in words."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving import wire
from workers.serving import inspect_model
from workers.serving.inspect_model import UnreadableModelError, read_signatures

PROGRAM = Path(inspect_model.__file__)


def folder_with(tmp_path: Path, data: bytes) -> Path:
    (tmp_path / "saved_model.pb").write_bytes(data)
    return tmp_path


def test_names_dtypes_and_shapes_of_the_serving_signature(tmp_path: Path) -> None:
    document = read_signatures(folder_with(tmp_path, wire.digits_model()))

    assert document["default_signature"] == "serving_default"
    assert document["tensorflow_version"] == "2.15.1"
    assert document["signatures"] == {
        "serving_default": {
            "method_name": "tensorflow/serving/predict",
            "inputs": [{"name": "pixels", "dtype": "float32", "shape": [-1, 784]}],
            "outputs": [{"name": "output_0", "dtype": "float32", "shape": [-1, 10]}],
        }
    }


def test_scalars_unknown_ranks_and_order(tmp_path: Path) -> None:
    signature = wire.signature(
        {
            "b": wire.tensor(wire.STRING, None),
            "a": wire.tensor(wire.INT64, []),
            "c": wire.tensor(wire.INT32, [0, 2]),
        },
        {"y": wire.tensor(99, [1])},
    )
    document = read_signatures(folder_with(tmp_path, wire.saved_model({"only": signature})))

    assert document["default_signature"] == "only"
    assert document["signatures"]["only"]["inputs"] == [
        {"name": "a", "dtype": "int64", "shape": []},
        {"name": "b", "dtype": "string", "shape": None},
        {"name": "c", "dtype": "int32", "shape": [0, 2]},
    ]
    assert document["signatures"]["only"]["outputs"][0]["dtype"] == "unknown"


def test_two_signatures_without_the_usual_name_leave_no_default(tmp_path: Path) -> None:
    one = wire.signature({"x": wire.tensor(wire.FLOAT, [1])}, {"y": wire.tensor(wire.FLOAT, [1])})
    document = read_signatures(folder_with(tmp_path, wire.saved_model({"a": one, "b": one})))

    assert document["default_signature"] is None


def test_the_graph_for_serving_is_chosen(tmp_path: Path) -> None:
    one = wire.signature({"x": wire.tensor(wire.FLOAT, [1])}, {"y": wire.tensor(wire.FLOAT, [1])})
    data = wire.saved_model({"train": one}, tags=("train",)) + wire.saved_model({"serve": one})

    assert list(read_signatures(folder_with(tmp_path, data))["signatures"]) == ["serve"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "saved_model_damaged"),
        (b"PK\x03\x04 not a model at all", "saved_model_damaged"),
        (wire.digits_model()[:-5], "saved_model_damaged"),
        (wire.number(1, 1), "saved_model_damaged"),
        (wire.saved_model({}), "no_signature"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(tmp_path: Path, data: bytes, code: str) -> None:
    with pytest.raises(UnreadableModelError) as caught:
        read_signatures(folder_with(tmp_path, data))

    assert caught.value.code == code
    assert str(caught.value).endswith(".")


def test_a_folder_without_the_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableModelError) as caught:
        read_signatures(tmp_path)

    assert caught.value.code == "saved_model_missing"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(min_size=1, max_size=200), at=st.integers(0, 300))
def test_no_bytes_break_the_reader(tmp_path: Path, data: bytes, at: int) -> None:
    model = wire.digits_model()
    broken = model[: at % len(model)] + data + model[at % len(model) :]
    for content in (data, broken):
        try:
            read_signatures(folder_with(tmp_path, content))
        except UnreadableModelError:
            continue


def test_the_program_runs_alone_and_prints_json(tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(PROGRAM), str(tmp_path)]

    refused = subprocess.run(command, capture_output=True, timeout=30)
    folder_with(tmp_path, wire.digits_model())
    read = subprocess.run(command, capture_output=True, timeout=30, check=True)

    assert refused.returncode == 3
    assert json.loads(refused.stdout)["error"]["code"] == "saved_model_missing"
    assert json.loads(read.stdout)["default_signature"] == "serving_default"
