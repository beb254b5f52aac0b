"""Between the protocol's messages over gRPC and its bodies over HTTP. Pure."""

import json
import struct
from typing import Any

import numpy as np

from app.open_inference.messages import message_class

HEADER_LENGTH = "Inference-Header-Content-Length"
_CONTENTS = {
    "BOOL": ("bool_contents", "?"),
    "INT8": ("int_contents", "i1"),
    "INT16": ("int_contents", "<i2"),
    "INT32": ("int_contents", "<i4"),
    "INT64": ("int64_contents", "<i8"),
    "UINT8": ("uint_contents", "u1"),
    "UINT16": ("uint_contents", "<u2"),
    "UINT32": ("uint_contents", "<u4"),
    "UINT64": ("uint64_contents", "<u8"),
    "FP32": ("fp32_contents", "<f4"),
    "FP64": ("fp64_contents", "<f8"),
}
"""Where the values of a type stand, and how NumPy writes them; FP16 and BF16 are sent as bytes."""
_ModelInferResponse = message_class("ModelInferResponse")
_ModelMetadataResponse = message_class("ModelMetadataResponse")


class UntranslatableError(Exception):
    """The message cannot be said over HTTP; the text says why."""


def infer_body(request: Any) -> tuple[bytes, int]:
    """The body of ``…/infer``, and how many bytes of it are JSON.

    Args:
        request: a ``ModelInferRequest``.

    Raises:
        UntranslatableError: its tensors are not complete, or of no known type.
    """
    raw = list(request.raw_input_contents)
    if not raw:
        raw = [_packed(tensor) for tensor in request.inputs]
    if len(raw) != len(request.inputs):
        raise UntranslatableError(
            f"raw_input_contents has {len(raw)} tensors, inputs {len(request.inputs)}: all of them"
            " have to be there, or none."
        )
    document: dict[str, Any] = {
        "parameters": {**_parameters(request.parameters), "binary_data_output": True},
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
                "parameters": {**_parameters(tensor.parameters), "binary_data_size": len(content)},
            }
            for tensor, content in zip(request.inputs, raw, strict=True)
        ],
    }
    if request.id:
        document["id"] = request.id
    if request.outputs:
        document["outputs"] = [
            {
                "name": output.name,
                "parameters": {**_parameters(output.parameters), "binary_data": True},
            }
            for output in request.outputs
        ]
    head = json.dumps(document).encode()
    return b"".join([head, *raw]), len(head)


def infer_response(body: bytes, header_length: str | None) -> Any:
    """A ``ModelInferResponse`` from the answer of ``…/infer``.

    Args:
        body: of the answer, with tensors as bytes.
        header_length: how many bytes of it are JSON; None: all, as there are no tensors.
    """
    end = len(body) if header_length is None else int(header_length)
    document = json.loads(body[:end])
    answer = _ModelInferResponse(
        model_name=document["model_name"],
        model_version=document["model_version"],
        id=document.get("id", ""),
    )
    for tensor in document["outputs"]:
        answer.outputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        size = tensor["parameters"]["binary_data_size"]
        answer.raw_output_contents.append(body[end : end + size])
        end += size
    return answer


def metadata_response(document: dict[str, Any]) -> Any:
    """A ``ModelMetadataResponse`` from the model's metadata over HTTP."""
    answer = _ModelMetadataResponse(
        name=document["name"], versions=document["versions"], platform=document["platform"]
    )
    for side in ("inputs", "outputs"):
        for tensor in document[side]:
            getattr(answer, side).add(**{key: tensor[key] for key in ("name", "datatype", "shape")})
    return answer


def _packed(tensor: Any) -> bytes:
    if tensor.datatype == "BYTES":
        items = tensor.contents.bytes_contents
        return b"".join(struct.pack("<I", len(item)) + item for item in items)
    if tensor.datatype not in _CONTENTS:
        raise UntranslatableError(
            f"The input {tensor.name!r} is of type {tensor.datatype!r}, whose values are sent in"
            f" raw_input_contents; in contents may be {', '.join(_CONTENTS)} and BYTES."
        )
    field, kind = _CONTENTS[tensor.datatype]
    try:
        return np.array(list(getattr(tensor.contents, field)), dtype=kind).tobytes()
    except OverflowError as error:
        raise UntranslatableError(
            f"The input {tensor.name!r} has values that are no {tensor.datatype}."
        ) from error


def _parameters(given: Any) -> dict[str, Any]:
    chosen = {name: value.WhichOneof("parameter_choice") for name, value in given.items()}
    return {name: getattr(given[name], field) for name, field in chosen.items() if field}
