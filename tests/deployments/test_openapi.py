"""The document of a deployment is valid OpenAPI and describes the real bodies."""

from typing import Any

import pytest
from jsonschema import Draft4Validator  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV30SpecValidator

from app.deployments.openapi import build_document, tensor_schema
from app.models.schemas import SignatureRead, TensorRead

PIXELS = TensorRead(name="pixels", dtype="float32", shape=[-1, 4])
DIGIT = TensorRead(name="digit", dtype="float32", shape=[-1, 2])
TEXT = TensorRead(name="text", dtype="string", shape=[-1])
COUNT = TensorRead(name="count", dtype="int32", shape=[])
ANY = TensorRead(name="any", dtype="uint8", shape=None)
FLAG = TensorRead(name="flag", dtype="bool", shape=[3, 2])
HUGE = TensorRead(name="huge", dtype="float32", shape=[-1, 224, 224, 3])
ODD = TensorRead(name="odd", dtype="complex64", shape=[-1])


def document(inputs: list[TensorRead], outputs: list[TensorRead]) -> dict[str, Any]:
    signature = SignatureRead(signature_name="serving_default", inputs=inputs, outputs=outputs)
    return build_document(
        signature,
        name="svc",
        model="digits",
        version=3,
        scoring_url="http://host:1/v1/workspaces/w/deployments/svc/score",
    )


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([PIXELS], [DIGIT]),
        ([PIXELS, TEXT], [DIGIT, TEXT]),
        ([COUNT], [COUNT]),
        ([ANY], [ANY]),
        ([FLAG, COUNT], [DIGIT]),
        ([HUGE], [DIGIT]),
        ([ODD], [ODD]),
        ([], [DIGIT]),
    ],
)
def test_the_document_is_valid(inputs: list[TensorRead], outputs: list[TensorRead]) -> None:
    made = document(inputs, outputs)

    OpenAPIV30SpecValidator(made).validate()
    assert made["servers"] == [{"url": "http://host:1/v1/workspaces/w/deployments/svc"}]
    assert made["paths"]["/score"]["post"]["operationId"] == "score"


def test_fixed_sizes_are_lengths() -> None:
    assert tensor_schema(FLAG) == {
        "type": "array",
        "minItems": 3,
        "maxItems": 3,
        "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "boolean"}},
    }
    assert tensor_schema(PIXELS, skip=1)["minItems"] == 4
    assert tensor_schema(COUNT)["format"] == "int32"


def fits(made: dict[str, Any], name: str, body: Any) -> bool:
    schema = {"$ref": f"#/components/schemas/{name}", "components": made["components"]}
    return bool(Draft4Validator(schema).is_valid(body))


def test_bodies_that_are_served_fit_and_others_do_not() -> None:
    one, two = document([PIXELS], [DIGIT]), document([PIXELS, TEXT], [DIGIT, TEXT])
    row = [0, 0.5, 1, 0]

    unfits: list[Any] = [
        {},
        {"instances": [row[:3]]},
        {"inputs": [["x"] * 4]},
        {"no": [row]},
        [row],
    ]
    for body in ({"instances": [row]}, {"inputs": [row]}, {"data": [row, row]}):
        assert fits(one, "ScoreRequest", body)
    assert fits(one, "ScoreRequest", {"instances": [{"pixels": row}]})
    assert fits(two, "ScoreRequest", {"instances": [{"pixels": row, "text": {"b64": "eA=="}}]})
    assert fits(two, "ScoreRequest", {"inputs": {"pixels": [row], "text": ["x"]}})
    for unfit in unfits:
        assert not fits(one, "ScoreRequest", unfit)
    assert not fits(two, "ScoreRequest", {"instances": [{"pixels": row}]})
    assert fits(one, "ScoreAnswer", {"predictions": [[0.1, 0.9]]})
    assert fits(one, "ScoreAnswer", [[0.1, 0.9]])
    assert fits(two, "ScoreAnswer", {"outputs": {"digit": [[0.1, 0.9]], "text": ["x"]}})


@pytest.mark.parametrize("inputs", [[PIXELS], [PIXELS, TEXT], [COUNT], [FLAG], [ANY]])
def test_the_examples_fit_their_own_schema(inputs: list[TensorRead]) -> None:
    made = document(inputs, [DIGIT])
    content = made["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]

    assert content["examples"]
    for example in content["examples"].values():
        assert fits(made, "ScoreRequest", example["value"])


def test_examples_of_huge_inputs_are_left_out() -> None:
    made = document([HUGE], [DIGIT])

    content = made["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]
    assert "examples" not in content


def test_inference_requests_name_their_tensors_with_type_and_rank() -> None:
    made = document([PIXELS, TEXT], [DIGIT])
    pixels = {"name": "pixels", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}
    text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["x"]}

    assert fits(made, "InferRequest", {"inputs": [pixels, text]})
    for wrong in ({"name": "other"}, {"datatype": "INT64"}, {"shape": [4]}):
        assert not fits(made, "InferRequest", {"inputs": [{**pixels, **wrong}, text]})
    assert not fits(made, "InferRequest", {"inputs": [pixels]})
    assert "/v2/models/digits/infer" in made["paths"]
    assert "/v1/models/digits:predict" in made["paths"]
