"""The Open Inference Protocol over HTTP: JSON, and tensors as bytes behind the JSON.

Formats: https://github.com/kserve/open-inference-protocol (inference_rest.yaml) and the binary
tensor data extension, which Triton's client uses unless it is told otherwise.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from .decode import Request, as_input, choose_signature, flat_array
from .encode import dump, parse_json
from .problems import Problem, invalid_field
from .signature import Signature, Tensor

OPEN_INFERENCE = "open_inference"
HEADER_LENGTH = "Inference-Header-Content-Length"
_MOST_DIMENSIONS = 32
_LARGEST_SIZE = 2**31 - 1
_DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16",
    "float32": "FP32", "float64": "FP64", "bfloat16": "BF16", "string": "BYTES",
}  # fmt: skip


@dataclass(frozen=True)
class Inference:
    """An inference request, understood.

    Attributes:
        id: that the caller gave it; empty: none.
        request: the arrays.
        outputs: names of the outputs that are asked for, and whether as bytes.
    """

    id: str
    request: Request
    outputs: List[Tuple[str, bool]]


def datatype(tensor: Tensor) -> str:
    """Return the protocol's name of a tensor's type."""
    return _DATATYPES.get(tensor.dtype, tensor.dtype.upper())


def decode_inference(
    body: bytes, header_length: Optional[str], signatures: Mapping[str, Signature], default: str
) -> Inference:
    """Return the request in the body.

    Args:
        body: of the HTTP request.
        header_length: how many bytes of it are JSON, as the header says; None: all.
        signatures: of the model, by name.
        default: the one that is called unless ``parameters`` has a ``signature_name``.

    Raises:
        Problem: 400, naming the field by its JSON pointer and what was expected there.
    """
    head, rest = _split(body, header_length)
    document = parse_json(head)
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), list):
        raise invalid_field("/inputs", "invalid_body", "expected an object with a list of inputs")
    parameters = _parameters(document, "")
    signature = choose_signature(parameters.get("signature_name", default), signatures)
    arrays: Dict[str, Any] = {}
    at = 0
    for index, given in enumerate(document["inputs"]):
        pointer = f"/inputs/{index}"
        tensor = _tensor(given, signature, pointer)
        size = _parameters(given, pointer).get("binary_data_size")
        if size is None:
            arrays[tensor.name] = flat_array(
                given.get("data"), _shape(given, pointer), tensor, f"{pointer}/data"
            )
            continue
        if not isinstance(size, int) or not 0 <= size <= len(rest) - at:
            message = f"expected a size of at most the {len(rest) - at} bytes that are left"
            raise invalid_field(f"{pointer}/parameters/binary_data_size", "invalid_size", message)
        raw = rest[at : at + size]
        arrays[tensor.name] = _from_bytes(raw, _shape(given, pointer), tensor, pointer)
        at += size
    _check_complete(arrays, signature)
    outputs = _outputs(document, signature, bool(parameters.get("binary_data_output")))
    identity = document.get("id", "")
    return Inference(str(identity), Request(OPEN_INFERENCE, signature, arrays), outputs)


def encode_inference(
    inference: Inference, arrays: Dict[str, Any], *, model: str, version: str
) -> Tuple[bytes, Dict[str, str]]:
    """Return the body of the answer and its headers."""
    tensors = {tensor.name: tensor for tensor in inference.request.signature.outputs}
    described: List[Dict[str, Any]] = []
    raw: List[bytes] = []
    for name, as_bytes in inference.outputs:
        array, kind = np.asarray(arrays[name]), datatype(tensors[name])
        one: Dict[str, Any] = {"name": name, "datatype": kind, "shape": list(array.shape)}
        if as_bytes:
            raw.append(_to_bytes(array, kind))
            one["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            one["data"] = _texts(array) if kind == "BYTES" else np.ravel(array)
        described.append(one)
    document: Dict[str, Any] = {"model_name": model, "model_version": version}
    if inference.id:
        document["id"] = inference.id
    head = dump({**document, "outputs": described})
    if not raw:
        return head, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return b"".join([head, *raw]), headers


def describe_model(
    signature: Signature, *, model: str, version: str, runtime: str
) -> Dict[str, Any]:
    """Return the model's metadata in the protocol's form."""
    is_tensorflow = runtime.startswith("TensorFlow")
    return {
        "name": model,
        "versions": [version],
        "platform": "tensorflow_savedmodel" if is_tensorflow else "onnxruntime_onnx",
        "inputs": [_describe(tensor) for tensor in signature.inputs],
        "outputs": [_describe(tensor) for tensor in signature.outputs],
    }


def _describe(tensor: Tensor) -> Dict[str, Any]:
    shape = [-1] if tensor.shape is None else list(tensor.shape)
    return {"name": tensor.name, "datatype": datatype(tensor), "shape": shape}


def _split(body: bytes, header_length: Optional[str]) -> Tuple[bytes, bytes]:
    if header_length is None:
        return body, b""
    is_number = header_length.isascii() and header_length.isdigit() and len(header_length) < 20
    if not is_number or int(header_length) > len(body):
        raise Problem(
            400, "invalid_header", f"{HEADER_LENGTH} is not the length of a part of the body."
        )
    return body[: int(header_length)], body[int(header_length) :]


def _parameters(document: Dict[str, Any], pointer: str) -> Dict[str, Any]:
    found = document.get("parameters", {})
    if not isinstance(found, dict):
        raise invalid_field(f"{pointer}/parameters", "invalid_type", "expected an object")
    return found


def _tensor(given: Any, signature: Signature, pointer: str) -> Tensor:
    known = {tensor.name: tensor for tensor in signature.inputs}
    name = given.get("name") if isinstance(given, dict) else None
    if not isinstance(name, str) or name not in known:
        message = f"no such input; the model takes: {', '.join(sorted(known))}"
        raise invalid_field(f"{pointer}/name", "unknown_input", message)
    tensor = known[name]
    if given.get("datatype") != datatype(tensor):
        message = f"expected {datatype(tensor)}: the input {name!r} takes {tensor.describe()}"
        raise invalid_field(f"{pointer}/datatype", "invalid_type", message)
    return tensor


def _shape(given: Dict[str, Any], pointer: str) -> Tuple[int, ...]:
    shape = given.get("shape")
    if not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS:
        message = f"expected a list of at most {_MOST_DIMENSIONS} sizes"
        raise invalid_field(f"{pointer}/shape", "invalid_type", message)
    for index, size in enumerate(shape):
        if not _is_size(size):
            message = f"size {index}, counted from 0, is no integer from 0 to {_LARGEST_SIZE}"
            raise invalid_field(f"{pointer}/shape", "invalid_type", message)
    return tuple(shape)


def _is_size(value: Any) -> bool:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return is_integer and 0 <= value <= _LARGEST_SIZE


def _check_complete(arrays: Dict[str, Any], signature: Signature) -> None:
    for tensor in signature.inputs:
        if tensor.name not in arrays:
            message = f"the input {tensor.name!r} is missing; expected {tensor.describe()}"
            raise invalid_field("/inputs", "missing_input", message)


def _outputs(
    document: Dict[str, Any], signature: Signature, all_as_bytes: bool
) -> List[Tuple[str, bool]]:
    names = [tensor.name for tensor in signature.outputs]
    asked = document.get("outputs")
    if not asked:
        return [(name, all_as_bytes) for name in names]
    if not isinstance(asked, list):
        raise invalid_field("/outputs", "invalid_type", "expected a list of outputs")
    chosen = []
    for index, output in enumerate(asked):
        pointer = f"/outputs/{index}"
        if not isinstance(output, dict) or output.get("name") not in names:
            message = f"no such output; the model gives: {', '.join(names)}"
            raise invalid_field(f"{pointer}/name", "unknown_output", message)
        as_bytes = _parameters(output, pointer).get("binary_data", all_as_bytes)
        chosen.append((output["name"], bool(as_bytes)))
    return chosen


def _from_bytes(raw: bytes, shape: Tuple[int, ...], tensor: Tensor, pointer: str) -> Any:
    try:
        if tensor.dtype == "string":
            array = np.empty(len(found := _unpack(raw)), dtype=object)
            array[:] = found
        elif tensor.dtype == "bfloat16":  # the upper half of a float32
            array = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        else:
            array = np.frombuffer(raw, np.dtype(tensor.dtype).newbyteorder("<"))
        array = array.reshape(shape)
    except (ValueError, struct.error) as error:
        message = f"the bytes are not a tensor {datatype(tensor)} of the shape {list(shape)}"
        raise invalid_field(f"{pointer}/shape", "shape_mismatch", message) from error
    return as_input(array, tensor, f"{pointer}/shape")


def _to_bytes(array: Any, kind: str) -> bytes:
    if kind == "BYTES":
        parts = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel()]
        return b"".join(struct.pack("<I", len(part)) + part for part in parts)
    if kind == "BF16":
        bits: bytes = (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        return bits
    found: bytes = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return found


def _unpack(raw: bytes) -> List[bytes]:
    """Return byte strings that each have their length, four bytes, in front."""
    found, at = [], 0
    while at < len(raw):
        (size,) = struct.unpack_from("<I", raw, at)
        at += 4
        if at + size > len(raw):
            raise ValueError("a string is longer than the bytes")
        found.append(raw[at : at + size])
        at += size
    return found


def _texts(array: Any) -> List[str]:
    return [
        item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
        for item in array.ravel().tolist()
    ]
