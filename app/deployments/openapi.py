"""The OpenAPI document of a deployment, made from its model's signature. Pure."""

import math
from typing import Any

from app.deployments.openapi_protocols import inference_schemas, protocol_paths
from app.models.schemas import SignatureRead, TensorRead

_MAX_EXAMPLE_ELEMENTS = 4096
_INTEGERS = {
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint8": (0, 2**8 - 1),
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
_FLOATS = {"float64": "double", "float32": "float", "float16": "float", "bfloat16": "float"}
_PROBLEMS = {
    "400": "The request does not fit the signature; errors names the field",
    "401": "No valid key",
    "403": "The key is not one of this deployment's",
    "404": "There is no such deployment",
    "413": "The body is too large",
    "429": "Too many requests wait already: wait for Retry-After and repeat",
    "503": "No replica can answer now: wait for Retry-After and repeat",
    "504": "The model took too long",
}


def build_document(
    signature: SignatureRead, *, name: str, model: str, version: int, scoring_url: str
) -> dict[str, Any]:
    """The OpenAPI 3.0 document of one deployment.

    Args:
        signature: of the model.
        name: of the deployment.
        model: name of the model.
        version: of the model.
        scoring_url: absolute address that takes predictions; ends in ``/score``.
    """
    server, _, _ = scoring_url.rpartition("/score")
    return {
        "openapi": "3.0.3",
        "info": {
            "title": name,
            "version": str(version),
            "description": f"Predictions of version {version} of the model {model!r}."
            f" Inputs: {_listed(signature.inputs)}. Outputs: {_listed(signature.outputs)}.",
        },
        "servers": [{"url": server}],
        "security": [{"key": []}],
        "paths": {
            "/score": {"post": _operation(signature)},
            **protocol_paths(model, _problems()),
        },
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of the deployment, or an API token",
                }
            },
            "schemas": _schemas(signature),
        },
    }


def tensor_schema(tensor: TensorRead, *, skip: int = 0) -> dict[str, Any]:
    """JSON schema of a tensor's value: nested arrays, with lengths where they are fixed.

    Args:
        tensor: dtype and shape.
        skip: how many leading dimensions to leave out (1: a row of a batch).
    """
    if tensor.shape is None:
        return {"description": f"{tensor.dtype}, any shape"}
    schema = _element(tensor.dtype)
    for size in reversed(tensor.shape[skip:]):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def _operation(signature: SignatureRead) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/ScoreRequest"}}
    examples = _examples(signature)
    if examples:
        content["examples"] = examples
    return {
        "operationId": "score",
        "summary": "Predict",
        "description": "Takes TensorFlow Serving's REST predict format (instances: row by row,"
        " inputs: column by column) and Azure ML's data.",
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": {
                "description": "Predictions, in the format of the request",
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/ScoreAnswer"}}
                },
            },
            **_problems(),
        },
    }


def _problems() -> dict[str, Any]:
    return {status: _problem(text) for status, text in _PROBLEMS.items()}


def _problem(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {"application/problem+json": {"schema": schema}}}


def _schemas(signature: SignatureRead) -> dict[str, Any]:
    schemas: dict[str, Any] = {"Problem": _problem_schema()}
    requests, answers = [], []
    if signature.inputs and all(_has_rows(tensor) for tensor in signature.inputs):
        schemas["Instance"] = _values(signature.inputs, skip=1, needs_bare=True)
        schemas["RowRequest"] = _request("instances", _many("Instance", signature.inputs))
        requests.append("RowRequest")
    if all(_has_rows(tensor) for tensor in signature.outputs):
        schemas["Prediction"] = _values(signature.outputs, skip=1, needs_bare=False)
        predictions = {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}}
        schemas["RowAnswer"] = _object({"predictions": predictions})
        schemas["DataAnswer"] = predictions
        answers += ["RowAnswer", "DataAnswer"]
    schemas["Inputs"] = _values(signature.inputs, skip=0, needs_bare=True)
    schemas["ColumnRequest"] = _request("inputs", {"$ref": "#/components/schemas/Inputs"})
    schemas["DataRequest"] = _request("data", {"$ref": "#/components/schemas/Inputs"})
    schemas["Outputs"] = _values(signature.outputs, skip=0, needs_bare=False)
    schemas["ColumnAnswer"] = _object({"outputs": {"$ref": "#/components/schemas/Outputs"}})
    schemas["ScoreRequest"] = _one_of([*requests, "ColumnRequest", "DataRequest"])
    schemas["ScoreAnswer"] = {"anyOf": _one_of([*answers, "ColumnAnswer"])["oneOf"]}
    return schemas | inference_schemas(signature)


def _one_of(names: list[str]) -> dict[str, Any]:
    return {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}


def _many(item: str, tensors: list[TensorRead]) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "array",
        "items": {"$ref": f"#/components/schemas/{item}"},
        "minItems": 1,
    }
    fixed = {tensor.shape[0] for tensor in tensors if tensor.shape and tensor.shape[0] > 0}
    if len(fixed) == 1:
        (size,) = fixed
        schema |= {"minItems": size, "maxItems": size}
    return schema


def _values(tensors: list[TensorRead], *, skip: int, needs_bare: bool) -> dict[str, Any]:
    """A bare value where there is one tensor, else (and for inputs also) an object by name."""
    by_name = _object({tensor.name: tensor_schema(tensor, skip=skip) for tensor in tensors})
    if len(tensors) != 1:
        return by_name
    bare = tensor_schema(tensors[0], skip=skip)
    return {"anyOf": [bare, by_name]} if needs_bare else bare


def _request(field: str, schema: dict[str, Any]) -> dict[str, Any]:
    whole = _object({field: schema})
    whole["properties"]["signature_name"] = {"type": "string"}
    whole["additionalProperties"] = False
    return whole


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": dict(properties)}
    return schema | {"required": sorted(properties)} if properties else schema


def _element(dtype: str) -> dict[str, Any]:
    if dtype in _INTEGERS:
        low, high = _INTEGERS[dtype]
        width = "int64" if dtype in ("int64", "uint64", "uint32") else "int32"
        return {"type": "integer", "format": width, "minimum": low, "maximum": high}
    if dtype in _FLOATS:
        return {"type": "number", "format": _FLOATS[dtype]}
    if dtype == "bool":
        return {"type": "boolean"}
    if dtype == "string":
        base64 = _object({"b64": {"type": "string", "format": "byte"}})
        return {"oneOf": [{"type": "string"}, {**base64, "additionalProperties": False}]}
    return {"description": dtype}


def _has_rows(tensor: TensorRead) -> bool:
    return tensor.shape is None or len(tensor.shape) > 0


def _examples(signature: SignatureRead) -> dict[str, Any]:
    if any(_example_size(tensor) > _MAX_EXAMPLE_ELEMENTS for tensor in signature.inputs):
        return {}
    values = {tensor.name: _example(tensor, tensor.shape or [1]) for tensor in signature.inputs}
    columns = values if len(values) != 1 else next(iter(values.values()))
    examples = {"columns": {"value": {"inputs": columns}}, "data": {"value": {"data": columns}}}
    is_row = bool(values) and all(
        tensor.shape and tensor.shape[0] in (-1, 1) for tensor in signature.inputs
    )
    if is_row:
        row = {name: value[0] for name, value in values.items()}
        instance = row if len(row) > 1 else next(iter(row.values()))
        examples = {"rows": {"value": {"instances": [instance]}}, **examples}
    return examples


def _example_size(tensor: TensorRead) -> int:
    return math.prod(max(size, 1) for size in tensor.shape or [1])


def _example(tensor: TensorRead, shape: list[int]) -> Any:
    if tensor.shape == []:
        shape = []
    if not shape:
        return _zero(tensor.dtype)
    size = shape[0] if shape[0] >= 0 else 1
    inner = TensorRead(name=tensor.name, dtype=tensor.dtype, shape=shape[1:])
    return [_example(inner, shape[1:]) for _ in range(size)]


def _zero(dtype: str) -> Any:
    if dtype == "string":
        return ""
    if dtype == "bool":
        return False
    return 0.0 if dtype in _FLOATS else 0


def _listed(tensors: list[TensorRead]) -> str:
    return "; ".join(f"{tensor.name} ({_describe(tensor)})" for tensor in tensors)


def _describe(tensor: TensorRead) -> str:
    if tensor.shape is None:
        return f"{tensor.dtype}, any shape"
    sizes = ", ".join("?" if size < 0 else str(size) for size in tensor.shape)
    return f"{tensor.dtype} [{sizes}]"


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    field = _object({"pointer": text, "code": text, "message": text})
    schema = _object({"type": text, "title": text, "detail": text, "code": text})
    schema["properties"]["status"] = {"type": "integer"}
    schema["properties"]["errors"] = {"type": "array", "items": field}
    return schema
