"""Turn the outputs of a model into the JSON answer of the request's format."""

from __future__ import annotations

import base64
import json
from typing import Any, Dict, List

import numpy as np

from .decode import AZURE, COLUMNAR, ROW
from .problems import Problem
from .signature import Signature

try:
    import orjson
except ImportError:  # an era of Python that has no build of it: slower, same answers
    _HAS_ORJSON = False
else:
    _HAS_ORJSON = True


def encode_answer(form: str, signature: Signature, outputs: Dict[str, Any]) -> bytes:
    """Return the body of the answer: `predictions`, `outputs`, or Azure's plain list.

    Rules of TensorFlow Serving: one output is given as its bare value, several as objects by
    name; string outputs named `*_bytes` are base64 objects, others are text; in the row format
    all outputs must have the same first dimension.

    Raises:
        Problem: 400 where the outputs have no common first dimension and rows were asked for.
    """
    if form == COLUMNAR:
        return dump({"outputs": _columns(signature, outputs)})
    if form == ROW:
        return dump({"predictions": prediction_rows(signature, outputs)})
    if form == AZURE and _rows_count(outputs) is None:
        return dump(_columns(signature, outputs))
    return dump(prediction_rows(signature, outputs))


def parse_json(body: bytes) -> Any:
    """Return the document; NaN and Infinity are taken, as TensorFlow Serving does.

    Raises:
        Problem: 400, with the place of the mistake.
    """
    if _HAS_ORJSON:
        try:
            return orjson.loads(body)
        except ValueError:  # it refuses NaN: let the slow parser decide, and word the error
            pass
    try:
        return load(body)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "invalid_json", f"The body is not JSON: {error}") from error


def load(text: bytes) -> Any:
    """Return what the JSON says, NaN and Infinity taken.

    Raises:
        ValueError: it is none, or has half a surrogate pair, which no string can carry.
        RecursionError: it is nested too deeply.
    """
    document = json.loads(text)
    if b"\\ud" in text or b"\\uD" in text:
        json.dumps(document, ensure_ascii=False).encode()
    return document


def plain(name: str, array: Any) -> Any:
    """Return an array that `dump` can write: numbers stay arrays, bytes become text."""
    if array.dtype.kind not in "OSU":
        return array if array.ndim else array[()]
    return _strings(array.tolist(), as_base64=name.endswith("_bytes"))


def _columns(signature: Signature, outputs: Dict[str, Any]) -> Any:
    names = [tensor.name for tensor in signature.outputs]
    if len(names) == 1:
        return plain(names[0], outputs[names[0]])
    return {name: plain(name, outputs[name]) for name in names}


def prediction_rows(signature: Signature, outputs: Dict[str, Any]) -> Any:
    """Return the outputs row by row: bare values of one output, objects by name of several.

    Raises:
        Problem: 400 where the outputs have no common first dimension.
    """
    names = [tensor.name for tensor in signature.outputs]
    count = _rows_count(outputs)
    if count is None:
        shapes = ", ".join(f"{name} {list(outputs[name].shape)}" for name in names)
        raise Problem(
            400,
            "outputs_not_in_rows",
            f'The outputs have no common first dimension ({shapes}): ask with "inputs" instead.',
        )
    if len(names) == 1:
        return plain(names[0], outputs[names[0]])
    columns = {name: plain(name, outputs[name]) for name in names}
    return [{name: columns[name][row] for name in names} for row in range(count)]


def _rows_count(outputs: Dict[str, Any]) -> Any:
    counts = {array.shape[0] if array.ndim else None for array in outputs.values()}
    return counts.pop() if len(counts) == 1 else None


def _strings(value: Any, *, as_base64: bool) -> Any:
    if isinstance(value, list):
        return [_strings(item, as_base64=as_base64) for item in value]
    raw = value if isinstance(value, bytes) else str(value).encode()
    if as_base64:
        return {"b64": base64.b64encode(raw).decode()}
    return raw.decode("utf-8", "replace")


def dump(document: Any) -> bytes:
    """Return a document as JSON; arrays in it become lists."""
    if _HAS_ORJSON and all(_is_finite(array) for array in _arrays(document)):
        answer: bytes = orjson.dumps(
            document,
            default=_shortest,
            option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE,
        )
        return answer
    return json.dumps(document, default=_shortest, separators=(",", ":")).encode() + b"\n"


def _arrays(document: Any) -> List[Any]:
    if isinstance(document, dict):
        return [found for value in document.values() for found in _arrays(value)]
    if isinstance(document, list):
        return [found for value in document for found in _arrays(value)]
    return [document] if isinstance(document, (np.ndarray, np.generic, float)) else []


def _is_finite(array: Any) -> bool:
    return bool(np.isfinite(array).all()) if np.asarray(array).dtype.kind == "f" else True


def _shortest(array: Any) -> Any:
    """Return lists of numbers with no more digits than the array's type carries."""
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        flat = [float(str(value)) for value in array.ravel()]
        return np.array(flat, dtype=np.float64).reshape(array.shape).tolist()
    return array.tolist()
