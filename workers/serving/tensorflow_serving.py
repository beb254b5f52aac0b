"""TensorFlow Serving's REST forms beside predict: classify, regress, status and metadata.

https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Dict, Mapping

import numpy as np

from .decode import Request, choose_signature
from .problems import invalid_field
from .signature import CLASSIFY, REGRESS, Signature, Tensor

try:
    import tensorflow as tf
except ImportError:  # an environment of ONNX models, none of which can classify or regress
    tf = None

METHODS = {"classify": CLASSIFY, "regress": REGRESS}
_DTYPES = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF"}
_CLASSES, _SCORES, _VALUES = "classes", "scores", "outputs"


def decode_examples(
    body: Any, signatures: Mapping[str, Signature], default: str, verb: str
) -> Request:
    """Return the request of a classify or regress call.

    Args:
        body: the JSON document.
        signatures: of the model, by name.
        default: the one that is called where the body names none.
        verb: ``classify`` or ``regress``.

    Raises:
        Problem: 400, naming the field; also where the signature is not one for this verb.
    """
    if not isinstance(body, dict):
        raise invalid_field("", "invalid_body", "the body must be a JSON object")
    signature = choose_signature(body.get("signature_name", default), signatures)
    if signature.method_name != METHODS[verb] or len(signature.inputs) != 1:
        able = [name for name, each in signatures.items() if each.method_name == METHODS[verb]]
        message = f"the signature {signature.name!r} cannot {verb}; " + (
            f"these can: {', '.join(sorted(able))}" if able else "none of the model's can"
        )
        raise invalid_field("/signature_name", "wrong_method", message)
    examples = body.get("examples")
    if not isinstance(examples, list) or not examples:
        raise invalid_field(
            "/examples", "invalid_type", "expected a list with at least one example"
        )
    context = _features(body.get("context", {}), "/context")
    packed = np.empty(len(examples), dtype=object)
    for index, example in enumerate(examples):
        features = {**context, **_features(example, f"/examples/{index}")}
        message = tf.train.Example(features=tf.train.Features(feature=features))
        packed[index] = message.SerializeToString()
    return Request(verb, signature, {signature.inputs[0].name: packed})


def encode_result(verb: str, outputs: Dict[str, Any]) -> Dict[str, Any]:
    """Return the answer of a classify or regress call."""
    if verb == "regress":
        return {"result": [float(value) for value in np.ravel(outputs[_VALUES])]}
    given = outputs[_SCORES if _SCORES in outputs else _CLASSES]
    scores = outputs.get(_SCORES, np.zeros(given.shape))
    classes = outputs.get(_CLASSES, np.full(given.shape, b"", dtype=object))
    return {
        "result": [
            [[_text(label), float(score)] for label, score in zip(np.ravel(names), np.ravel(row))]
            for names, row in zip(classes, scores)
        ]
    }


def describe_status(version: str) -> Dict[str, Any]:
    """Return the status of the version that is served."""
    status = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": version, "state": "AVAILABLE", "status": status}]}


def describe_metadata(
    signatures: Mapping[str, Signature], *, model: str, version: str
) -> Dict[str, Any]:
    """Return the signatures as TensorFlow Serving shows them."""
    described = {
        name: {
            "inputs": {tensor.name: _tensor_info(tensor) for tensor in each.inputs},
            "outputs": {tensor.name: _tensor_info(tensor) for tensor in each.outputs},
            "method_name": each.method_name,
        }
        for name, each in signatures.items()
    }
    return {
        "model_spec": {"name": model, "signature_name": "", "version": version},
        "metadata": {"signature_def": {"signature_def": described}},
    }


def _tensor_info(tensor: Tensor) -> Dict[str, Any]:
    sizes = [{"size": str(size), "name": ""} for size in tensor.shape or ()]
    return {
        "name": tensor.name,
        "dtype": _DTYPES.get(tensor.dtype, f"DT_{tensor.dtype.upper()}"),
        "tensor_shape": {"dim": sizes, "unknown_rank": tensor.shape is None},
    }


def _features(document: Any, pointer: str) -> Dict[str, Any]:
    if not isinstance(document, dict):
        raise invalid_field(pointer, "invalid_type", "expected an object with features by name")
    return {name: _feature(value, f"{pointer}/{name}") for name, value in document.items()}


def _feature(value: Any, pointer: str) -> Any:
    values = value if isinstance(value, list) else [value]
    if any(isinstance(each, int) and abs(each) >= 1 << 63 for each in values):
        raise invalid_field(pointer, "out_of_range", "a number does not fit int64")
    if all(isinstance(each, int) and not isinstance(each, bool) for each in values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    if all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    raw = [_bytes(each, pointer) for each in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=raw))


def _bytes(value: Any, pointer: str) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise invalid_field(f"{pointer}/b64", "invalid_base64", "this is not base64") from error
    raise invalid_field(pointer, "invalid_type", "expected numbers, or strings, or base64 objects")


def _text(label: Any) -> str:
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
