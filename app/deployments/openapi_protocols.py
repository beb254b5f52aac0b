"""The parts of a deployment's document about the kept protocols' own addresses. Pure."""

from typing import Any
from urllib.parse import quote

from app.models.schemas import SignatureRead, TensorRead

DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16",
    "float32": "FP32", "float64": "FP64", "bfloat16": "BF16", "string": "BYTES",
}  # fmt: skip
"""The Open Inference Protocol's names of types."""
_REF = "#/components/schemas/"


def protocol_paths(model: str, problems: dict[str, Any]) -> dict[str, Any]:
    """The paths of TensorFlow Serving's REST interface and of the Open Inference Protocol.

    Args:
        model: name of the model, which is part of the paths.
        problems: answers that every one of them may give.
    """
    serving, open_inference = f"/v1/models/{quote(model)}", f"/v2/models/{quote(model)}"
    anything = {"type": "object"}

    def reads(operation: str, summary: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"get": _operation(operation, summary, schema, problems)}

    def asks(
        operation: str, summary: str, body: dict[str, Any], schema: dict[str, Any]
    ) -> dict[str, Any]:
        made = _operation(operation, summary, schema, problems)
        made["requestBody"] = {"required": True, "content": _json(body)}
        return {"post": made}

    predict = asks(
        "predict",
        "TensorFlow Serving: predict",
        {"$ref": f"{_REF}ScoreRequest"},
        {"$ref": f"{_REF}ScoreAnswer"},
    )
    infer = asks(
        "infer",
        "Open Inference Protocol: infer; tensors may also be bytes behind the JSON",
        {"$ref": f"{_REF}InferRequest"},
        {"$ref": f"{_REF}InferAnswer"},
    )
    return {
        f"{serving}:predict": predict,
        serving: reads("getStatus", "TensorFlow Serving: status of the version", anything),
        f"{serving}/metadata": reads("getSignatures", "TensorFlow Serving: signatures", anything),
        f"{open_inference}/infer": infer,
        open_inference: reads("getModel", "Open Inference Protocol: inputs and outputs", anything),
        f"{open_inference}/ready": reads("isReady", "Open Inference Protocol: readiness", anything),
    }


def inference_schemas(signature: SignatureRead) -> dict[str, Any]:
    """Schemas of the Open Inference Protocol's bodies for this signature."""
    count = len(signature.inputs)
    inputs: dict[str, Any] = {"type": "array", "minItems": count, "maxItems": count}
    if signature.inputs:
        inputs["items"] = {"oneOf": [_tensor(tensor) for tensor in signature.inputs]}
    else:
        inputs["items"] = {"type": "object"}
    outputs = {"type": "array", "items": {"type": "object"}}
    if signature.outputs:
        outputs["items"] = {"anyOf": [_tensor(tensor) for tensor in signature.outputs]}
    text = {"type": "string"}
    return {
        "InferRequest": {
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "id": text,
                "parameters": {"type": "object"},
                "inputs": inputs,
                "outputs": {
                    "type": "array",
                    "items": {"type": "object", "required": ["name"], "properties": {"name": text}},
                },
            },
        },
        "InferAnswer": {
            "type": "object",
            "required": ["model_name", "outputs"],
            "properties": {
                "model_name": text,
                "model_version": text,
                "id": text,
                "outputs": outputs,
            },
        },
    }


def _tensor(tensor: TensorRead) -> dict[str, Any]:
    size = {"type": "integer", "minimum": 0}
    shape: dict[str, Any] = {"type": "array", "items": size}
    if tensor.shape is not None:
        sizes = ["?" if size < 0 else str(size) for size in tensor.shape]
        shape |= {
            "minItems": len(sizes),
            "maxItems": len(sizes),
            "description": f"[{', '.join(sizes)}]",
        }
    return {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string", "enum": [tensor.name]},
            "shape": shape,
            "datatype": {
                "type": "string",
                "enum": [DATATYPES.get(tensor.dtype, tensor.dtype.upper())],
            },
            "parameters": {"type": "object"},
            "data": {"type": "array", "items": {}, "description": "Row by row; may be flat"},
        },
    }


def _operation(
    name: str, summary: str, schema: dict[str, Any], problems: dict[str, Any]
) -> dict[str, Any]:
    answer = {"description": "The answer", "content": _json(schema)}
    return {"operationId": name, "summary": summary, "responses": {"200": answer, **problems}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
