"""Prediction requests become arrays, or a problem that names the field and what fits there."""

import base64
from typing import Any

import numpy as np
import pytest

from workers.serving.decode import Request, decode_request
from workers.serving.encode import encode_answer, parse_json
from workers.serving.problems import Problem
from workers.serving.signature import Shape, Signature, Tensor

IMAGE = Signature(
    "serving_default",
    (Tensor("x", "float32", (-1, 2, 2)),),
    (Tensor("y", "float32", (-1, 3)),),
)
MIXED = Signature(
    "serving_default",
    (Tensor("a", "float32", (-1, 2)), Tensor("s", "string", (-1,))),
    (Tensor("sum", "float32", (-1,)), Tensor("raw_bytes", "string", (-1,))),
)


def one(dtype: str, shape: Shape) -> Signature:
    return Signature("serving_default", (Tensor("x", dtype, shape),), (Tensor("y", dtype, shape),))


def decode(body: Any, signature: Signature = IMAGE) -> Request:
    return decode_request(body, {"serving_default": signature}, "serving_default")


def refusal(body: Any, signature: Signature = IMAGE) -> tuple[str, str]:
    with pytest.raises(Problem) as caught:
        decode(body, signature)
    assert caught.value.status == 400
    return caught.value.code, caught.value.errors[0]["pointer"]


@pytest.mark.parametrize("field", ["instances", "inputs", "data"])
def test_one_input_is_given_as_its_bare_value(field: str) -> None:
    request = decode({field: [[[1, 2], [3, 4.5]]]})

    assert request.format == field
    assert request.arrays["x"].dtype == np.float32
    assert request.arrays["x"].tolist() == [[[1.0, 2.0], [3.0, 4.5]]]
    assert request.rows == 1


def test_one_input_may_also_be_named() -> None:
    value = [[1, 2], [3, 4]]

    by_row = decode({"instances": [{"x": value}]})
    by_column = decode({"inputs": {"x": [value]}, "signature_name": "serving_default"})

    assert by_row.arrays["x"].tolist() == by_column.arrays["x"].tolist() == [value]


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [{"a": [1, 2], "s": "x"}, {"a": [3, 4], "s": {"b64": "eQ=="}}]},
        {"inputs": {"a": [[1, 2], [3, 4]], "s": ["x", "y"]}},
        {"data": [{"a": [1, 2], "s": "x"}, {"a": [3, 4], "s": "y"}]},
    ],
)
def test_several_inputs_by_row_and_by_column(body: Any) -> None:
    arrays = decode(body, MIXED).arrays

    assert arrays["a"].tolist() == [[1, 2], [3, 4]]
    assert arrays["s"].tolist() == [b"x", b"y"]


def test_strings_take_base64_and_text() -> None:
    raw = bytes(range(256))
    body = {"inputs": [{"b64": base64.b64encode(raw).decode()}, "é"]}

    assert decode(body, one("string", (-1,))).arrays["x"].tolist() == [raw, "é".encode()]


def test_a_scalar_and_any_rank() -> None:
    assert decode({"inputs": 3}, one("int32", ())).arrays["x"].tolist() == 3
    assert decode({"inputs": [[1, 2]]}, one("int64", None)).arrays["x"].shape == (1, 2)


@pytest.mark.parametrize(
    ("body", "signature", "code", "pointer"),
    [
        ([], IMAGE, "invalid_body", ""),
        ({}, IMAGE, "invalid_body", ""),
        ({"instances": [], "inputs": []}, IMAGE, "invalid_body", ""),
        ({"instances": [1], "extra": 1}, IMAGE, "unknown_field", "/extra"),
        ({"instances": []}, IMAGE, "invalid_type", "/instances"),
        ({"instances": 5}, IMAGE, "invalid_type", "/instances"),
        ({"instances": [1], "signature_name": "no"}, IMAGE, "unknown_signature", "/signature_name"),
        ({"instances": [1], "signature_name": []}, IMAGE, "unknown_signature", "/signature_name"),
        ({"instances": [[1, 2]]}, IMAGE, "shape_mismatch", "/instances"),
        ({"instances": [[[1, 2], [3]]]}, IMAGE, "shape_mismatch", "/instances"),
        ({"instances": [[[1, 2], [3, "x"]]]}, IMAGE, "invalid_type", "/instances/0/1/1"),
        ({"instances": [[[1, None], [3, 4]]]}, IMAGE, "invalid_type", "/instances/0/0/1"),
        ({"instances": [[[True, False]] * 2]}, IMAGE, "invalid_type", "/instances/0/0/0"),
        ({"inputs": {"y": 1}}, IMAGE, "missing_input", "/inputs/x"),
        ({"inputs": {"x": [], "y/z": 1}}, IMAGE, "unknown_input", "/inputs/y~1z"),
        ({"instances": [1]}, MIXED, "missing_input", "/instances/0"),
        ({"instances": [{"a": [1, 2]}]}, MIXED, "missing_input", "/instances/0/s"),
        ({"instances": [{"a": [1, 2], "s": ""}, 7]}, MIXED, "invalid_type", "/instances/1"),
        ({"instances": [{"a": [1, "2"], "s": ""}]}, MIXED, "invalid_type", "/instances/0/a/1"),
        ({"instances": [{"a": [1, 2], "s": 3}]}, MIXED, "invalid_type", "/instances/0/s"),
        ({"inputs": [1.5]}, one("int32", (-1,)), "invalid_type", "/inputs/0"),
        ({"inputs": [2**31]}, one("int32", (-1,)), "out_of_range", "/inputs"),
        ({"inputs": [10**30]}, one("int64", (-1,)), "invalid_type", "/inputs/0"),
        ({"inputs": [-1]}, one("uint8", (-1,)), "out_of_range", "/inputs"),
        ({"inputs": [1.0, 1e39]}, one("float32", (-1,)), "out_of_range", "/inputs"),
        ({"inputs": [-1e39]}, one("bfloat16", (-1,)), "out_of_range", "/inputs"),
        ({"inputs": [70_000]}, one("float16", (-1,)), "out_of_range", "/inputs"),
        ({"inputs": [1]}, one("bool", (-1,)), "invalid_type", "/inputs/0"),
        ({"inputs": [{"b64": "?"}]}, one("string", (-1,)), "invalid_base64", "/inputs/0/b64"),
        ({"inputs": [["a"], "b"]}, one("string", (-1,)), "shape_mismatch", "/inputs"),
    ],
)
def test_what_does_not_fit_is_named(
    body: Any, signature: Signature, code: str, pointer: str
) -> None:
    assert refusal(body, signature) == (code, pointer)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_infinity_and_what_is_no_number_are_taken_as_they_are(dtype: str) -> None:
    values = [1.5, np.inf, -np.inf, np.nan]
    array = decode({"inputs": values}, one(dtype, (-1,))).arrays["x"]
    np.testing.assert_array_equal(array, values)


def test_what_json_cannot_carry_is_said_to_be_so() -> None:
    with pytest.raises(Problem) as caught:
        decode({"inputs": [1]}, one("complex64", (-1,)))

    assert caught.value.status == 501


def test_a_refusal_says_what_was_expected() -> None:
    with pytest.raises(Problem, match=r"takes float32 \[\?, 2, 2\], found \[1, 2\]"):
        decode({"instances": [[1, 2]]})


def answer(form: str, signature: Signature, outputs: dict[str, Any]) -> Any:
    return parse_json(encode_answer(form, signature, outputs))


def test_one_output_is_answered_as_its_bare_value() -> None:
    outputs = {"y": np.array([[0.1, 0.2, 0.7]], dtype=np.float32)}

    assert answer("instances", IMAGE, outputs) == {"predictions": [[0.1, 0.2, 0.7]]}
    assert answer("inputs", IMAGE, outputs) == {"outputs": [[0.1, 0.2, 0.7]]}
    assert answer("data", IMAGE, outputs) == [[0.1, 0.2, 0.7]]


def test_several_outputs_are_answered_by_name() -> None:
    outputs = {
        "sum": np.array([3, 7], dtype=np.float32),
        "raw_bytes": np.array([b"x", b"\xff"], dtype=object),
    }
    rows = [
        {"sum": 3.0, "raw_bytes": {"b64": "eA=="}},
        {"sum": 7.0, "raw_bytes": {"b64": "/w=="}},
    ]

    assert answer("instances", MIXED, outputs) == {"predictions": rows}
    assert answer("data", MIXED, outputs) == rows
    assert answer("inputs", MIXED, outputs) == {
        "outputs": {"sum": [3.0, 7.0], "raw_bytes": [{"b64": "eA=="}, {"b64": "/w=="}]}
    }


def test_outputs_without_rows_are_answered_by_column_only() -> None:
    outputs = {"sum": np.float32(3), "raw_bytes": np.array([b"x"], dtype=object)}
    outputs = {name: np.asarray(value) for name, value in outputs.items()}

    with pytest.raises(Problem) as caught:
        encode_answer("instances", MIXED, outputs)

    assert caught.value.code == "outputs_not_in_rows"
    assert answer("data", MIXED, outputs) == {"sum": 3.0, "raw_bytes": [{"b64": "eA=="}]}


def test_numbers_have_no_more_digits_than_their_type_and_nan_is_passed_on() -> None:
    text = encode_answer("inputs", IMAGE, {"y": np.array([0.1, np.nan], dtype=np.float32)})

    assert text == b'{"outputs":[0.1,NaN]}\n'


def test_bad_json_is_a_problem() -> None:
    for body in (b"[1", b"\xff", b"[" * 100_000):
        with pytest.raises(Problem) as caught:
            parse_json(body)
        assert caught.value.code == "invalid_json"
