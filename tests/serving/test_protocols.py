"""The official Triton client and TensorFlow Serving's REST forms against the serving program."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from tritonclient import http as triton  # type: ignore[import-untyped]
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

from tests.serving.program import TOKEN, Served, serve_named

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def classifier(
    tensorflow_python: Path, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    found = serve_named(
        tensorflow_python, models, tmp_path_factory.mktemp("classifier"), "classifier"
    )
    yield found
    found.client.close()
    found.process.kill()
    found.process.wait(60)


@pytest.fixture
def client(mixed: Served) -> Iterator[Any]:
    with triton.InferenceServerClient(mixed.client.base_url.netloc.decode()) as client:
        yield client


def tensors(*, binary: bool) -> list[Any]:
    a, s = triton.InferInput("a", [2, 2], "FP32"), triton.InferInput("s", [2], "BYTES")
    a.set_data_from_numpy(np.array([[1, 2], [3, 4]], dtype=np.float32), binary_data=binary)
    s.set_data_from_numpy(np.array([b"x", b"hi"], dtype=object), binary_data=binary)
    return [a, s]


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client_sends_and_gets_numbers_and_bytes(client: Any, binary: bool) -> None:
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("sum", "upper")]

    answer = client.infer(
        "mixed", tensors(binary=binary), outputs=wanted, request_id="7", headers=dict(HEADERS)
    )

    assert answer.as_numpy("sum").tolist() == [3.0, 7.0]
    assert answer.as_numpy("upper").tolist() == ([b"X", b"HI"] if binary else ["X", "HI"])
    assert answer.as_numpy("raw_bytes") is None
    whole = answer.get_response()
    assert (whole["model_name"], whole["model_version"], whole["id"]) == ("mixed", "3", "7")


def test_tritons_client_reads_health_and_metadata(client: Any) -> None:
    assert client.is_server_live(headers=dict(HEADERS))
    assert client.is_server_ready(headers=dict(HEADERS))
    assert client.is_model_ready("mixed", headers=dict(HEADERS))
    assert not client.is_model_ready("mixed", "4", headers=dict(HEADERS))
    assert client.get_server_metadata(headers=dict(HEADERS))["extensions"] == ["binary_tensor_data"]
    found = client.get_model_metadata("mixed", "3", headers=dict(HEADERS))
    assert found["inputs"] == [
        {"name": "a", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "s", "datatype": "BYTES", "shape": [-1]},
    ]


def test_tritons_client_is_told_what_was_expected(client: Any) -> None:
    wrong = triton.InferInput("a", [2, 3], "FP32")
    wrong.set_data_from_numpy(np.zeros((2, 3), dtype=np.float32))

    with pytest.raises(InferenceServerException, match=r"takes float32 \[\?, 2\], found \[2, 3\]"):
        client.infer("mixed", [wrong], headers=dict(HEADERS))


def post(served: Served, path: str, body: Any) -> httpx2.Response:
    return served.client.post(path, json=body)


@pytest.mark.parametrize(
    ("inputs", "pointer"),
    [
        ([{"name": "b"}], "/inputs/0/name"),
        ([{"name": "a", "datatype": "INT32"}], "/inputs/0/datatype"),
        ([{"name": "a", "datatype": "FP32", "shape": [-1]}], "/inputs/0/shape"),
        ([{"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1]}], "/inputs/0/data"),
        (
            [{"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1, "x"]}],
            "/inputs/0/data/1",
        ),
        ([{"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}], "/inputs"),
        (None, "/inputs"),
        (
            [
                {
                    "name": "a",
                    "datatype": "FP32",
                    "shape": [1, 2],
                    "parameters": {"binary_data_size": 8},
                }
            ],
            "/inputs/0/parameters/binary_data_size",
        ),
    ],
)
def test_an_inference_that_does_not_fit_names_the_field(
    mixed: Served, inputs: Any, pointer: str
) -> None:
    answer = mixed.client.post(
        f"http://{mixed.client.base_url.netloc.decode()}/v2/models/mixed/infer",
        json={"inputs": inputs},
    )

    assert answer.status_code == 400, answer.text
    problem = answer.json()
    assert problem["errors"][0]["pointer"] == pointer, problem
    assert problem["error"] == problem["detail"]


def test_predict_under_tensorflow_servings_addresses(mixed: Served) -> None:
    body = {"instances": [{"a": [1, 2], "s": "x"}]}

    for path in ("/models/mixed:predict", "/models/mixed/versions/3:predict"):
        (row,) = post(mixed, path, body).json()["predictions"]
        assert row == {"sum": 3.0, "raw_bytes": {"b64": "eA=="}, "upper": "X"}
    assert post(mixed, "/models/other:predict", body).status_code == 404
    assert post(mixed, "/models/mixed/versions/4:predict", body).status_code == 404
    assert post(mixed, "/models/mixed:explain", body).status_code == 404


def test_status_and_metadata_as_tensorflow_serving_has_them(mixed: Served) -> None:
    (status,) = mixed.client.get("/models/mixed").json()["model_version_status"]
    assert (status["version"], status["state"]) == ("3", "AVAILABLE")
    found = mixed.client.get("/models/mixed/versions/3/metadata").json()
    assert found["model_spec"] == {"name": "mixed", "signature_name": "", "version": "3"}
    described = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert described["method_name"] == "tensorflow/serving/predict"
    assert described["inputs"]["a"] == {
        "name": "a",
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
            "unknown_rank": False,
        },
    }


def test_classify_and_regress_where_the_signature_is_for_them(classifier: Served) -> None:
    examples = [{"x": [1.5, 2]}, {"x": [0.5, 1.5]}]

    classified = post(
        classifier,
        "/models/classifier:classify",
        {"signature_name": "classify", "examples": examples},
    )
    regressed = post(
        classifier,
        "/models/classifier:regress",
        {"signature_name": "regress", "context": {"x": [3.0, 4.0]}, "examples": [{}, examples[0]]},
    )

    assert classified.json() == {
        "result": [[["left", 1.5], ["right", 2.0]], [["left", 0.5], ["right", 1.5]]]
    }
    assert regressed.json() == {"result": [7.0, 3.5]}
    refused = post(classifier, "/models/classifier:classify", {"examples": examples})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == "/signature_name"
    assert "these can: classify" in refused.json()["detail"]
    odd = {"signature_name": "classify", "examples": [{"x": [True]}]}
    assert post(classifier, "/models/classifier:classify", odd).status_code == 400
