"""Requests that no client of good will sends: each is refused, and the replica lives on."""

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest

from workers.serving.batching import Limits
from workers.serving.model import Model
from workers.serving.signature import Signature, Tensor
from workers.serving.web import Replica, Served, create_app

pytestmark = pytest.mark.anyio
INFER, PREDICT = "/v2/models/m/infer", "/v1/predict"


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    """A replica whose model gives back what it takes: numbers of any shape, and texts."""
    inputs = (Tensor("x", "float32", None), Tensor("s", "string", None))
    model = SimpleNamespace(
        signatures={"d": Signature("d", inputs, inputs)},
        default="d",
        runtime="none",
        run=lambda signature, arrays: arrays,
    )
    replica = Replica(Served("m", "1", "secret", 1 << 22, 10.0))
    replica.start(cast("Model", model), Limits())
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(create_app(replica)),
        base_url="http://replica",
        headers={"Authorization": "Bearer secret"},
    ) as client:
        yield client


def inference(shape: Any, data: str = "[1]", more: str = "") -> str:
    x = f'{{"name": "x", "datatype": "FP32", "shape": {json.dumps(shape)}, "data": {data}}}'
    s = '{"name": "s", "datatype": "BYTES", "shape": [1], "data": ["a"]}'
    return f'{{"inputs": [{x}, {s}]{more}}}'


DEEP = "[" * 1000 + "]" * 1000
MANY_DIMENSIONS = "[" * 70 + '"a"' + "]" * 70
"""More than an array has, and not too deep for JSON."""


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (INFER, inference([1] * 33), "invalid_type"),
        (INFER, inference([2**31 - 1] * 100_000), "invalid_type"),
        (INFER, inference([2**70, 0], "[]"), "invalid_type"),
        (INFER, inference([2**31 - 1] * 5 + [0], "[]"), "shape_mismatch"),
        (INFER, inference([1], DEEP), "shape_mismatch"),
        (INFER, inference([1], more=', "outputs": 5'), "invalid_type"),
        (INFER, inference([1], more=r', "id": "\ud800"'), "invalid_json"),
        (PREDICT, f'{{"inputs": {{"x": {DEEP}, "s": ["a"]}}}}', "shape_mismatch"),
        (PREDICT, f'{{"inputs": {{"x": [1], "s": {DEEP}}}}}', "shape_mismatch"),
        (PREDICT, f'{{"inputs": {{"x": [1], "s": {MANY_DIMENSIONS}}}}}', "shape_mismatch"),
        (PREDICT, r'{"inputs": {"x": [1], "s": ["\ud800"]}}', "invalid_json"),
        (PREDICT, r'{"inputs": {"x": [1], "s": ["a"]}, "\uDFFF": 1}', "invalid_json"),
    ],
)
async def test_an_odd_body_is_refused(
    client: httpx2.AsyncClient, path: str, body: str, code: str
) -> None:
    answer = await client.post(path, content=body)

    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ([1] * 33, "a list of at most 32 sizes"),
        ([10**15, 784], "size 0, counted from 0, is no integer from 0 to 2147483647"),
        ([1, -1], "size 1, counted"),
        ([1, 1, "2"], "size 2, counted"),
    ],
)
async def test_what_is_wrong_with_a_shape_is_said(
    client: httpx2.AsyncClient, shape: Any, said: str
) -> None:
    answer = await client.post(INFER, content=inference(shape))
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/inputs/0/shape", "invalid_type")
    assert said in error["message"]


@pytest.mark.parametrize("length", ["\u00b2", "-1", "9" * 5000, "99999"])
async def test_an_odd_length_of_the_json_is_refused(
    client: httpx2.AsyncClient, length: str
) -> None:
    headers = {"Inference-Header-Content-Length": length.encode("latin-1")}
    answer = await client.post(INFER, content=inference([1]), headers=headers)  # type: ignore[arg-type]

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_header")


async def test_what_is_merely_rare_is_answered(client: httpx2.AsyncClient) -> None:
    answer = await client.post(INFER, content=inference([0, 3], "[]"))
    assert answer.json()["outputs"][0]["shape"] == [0, 3]
    answer = await client.post(INFER, content=inference([1] * 32))
    assert answer.json()["outputs"][0]["data"] == [1.0]
    pair = r'{"inputs": {"x": [1], "s": ["\ud83d\ude00"]}}'
    answer = await client.post(PREDICT, content=pair)
    assert answer.json()["outputs"]["s"] == ["\U0001f600"]
