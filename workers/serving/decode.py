"""Turn the JSON of a prediction request into arrays, by the signature.

The formats are TensorFlow Serving's REST predict (row: `instances`, columnar: `inputs`,
https://www.tensorflow.org/tfx/serving/api_rest) and Azure ML's `{"data": …}`. Whatever does not
fit raises a problem that names the element and what was expected there.
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

from .problems import Problem, invalid_field
from .signature import Signature, Tensor, describe_shape

ROW, COLUMNAR, AZURE = "instances", "inputs", "data"
_FORMATS = (ROW, COLUMNAR, AZURE)
_INTEGERS = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
_FLOATS = {"float16", "bfloat16", "float32", "float64"}
_KIND_WORDS = {"b": "a boolean", "i": "an integer", "f": "a number", "s": "a string"}


@dataclass(frozen=True)
class Request:
    """A request, understood: the format of the answer and one array per input."""

    format: str
    signature: Signature
    arrays: Dict[str, Any]

    @property
    def rows(self) -> int:
        """Return the size of the first dimension, 0 for scalars."""
        first = next(iter(self.arrays.values()), None)
        return int(first.shape[0]) if first is not None and first.ndim else 0


def decode_request(body: Any, signatures: Mapping[str, Signature], default: str) -> Request:
    """Return the arrays of a request body.

    Raises:
        Problem: 400, naming the field by its JSON pointer and the expected dtype and shape.
    """
    if not isinstance(body, dict):
        raise invalid_field("", "invalid_body", "the body must be a JSON object")
    present = [name for name in _FORMATS if name in body]
    if len(present) != 1:
        found = "found " + " and ".join(present) if present else "found none"
        raise invalid_field(
            "", "invalid_body", f'give exactly one of "instances", "inputs" or "data"; {found}'
        )
    unknown = sorted(set(body) - {present[0], "signature_name"})
    if unknown:
        raise invalid_field(f"/{unknown[0]}", "unknown_field", "there is no such field")
    signature = choose_signature(body.get("signature_name", default), signatures)
    form = present[0]
    pointer, value = f"/{form}", body[form]
    as_rows = form == ROW or (form == AZURE and _is_rows_of_objects(value))
    arrays = (_rows if as_rows else _columns)(value, signature, pointer)
    return Request(form, signature, arrays)


def choose_signature(name: Any, signatures: Mapping[str, Signature]) -> Signature:
    """Return the signature of this name.

    Raises:
        Problem: 400, with the names that there are.
    """
    if isinstance(name, str) and name in signatures:
        return signatures[name]
    known = ", ".join(sorted(signatures))
    raise invalid_field(
        "/signature_name", "unknown_signature", f"the model has no such signature; it has: {known}"
    )


def _is_rows_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and _is_named(value[0])


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and set(value) != {"b64"}


def _rows(value: Any, signature: Signature, pointer: str) -> Dict[str, Any]:
    if not isinstance(value, list) or not value:
        raise invalid_field(pointer, "invalid_type", "expected a list with at least one instance")
    if not _is_named(value[0]):
        tensor = _single_input(signature, f"{pointer}/0")
        return {tensor.name: _array(value, tensor, pointer)}
    for index, row in enumerate(value):
        _check_names(row, signature, f"{pointer}/{index}")
    return {
        tensor.name: _array(
            [row[tensor.name] for row in value], tensor, pointer, suffix=f"/{_escape(tensor.name)}"
        )
        for tensor in signature.inputs
    }


def _columns(value: Any, signature: Signature, pointer: str) -> Dict[str, Any]:
    if not _is_named(value):
        tensor = _single_input(signature, pointer)
        return {tensor.name: _array(value, tensor, pointer)}
    _check_names(value, signature, pointer)
    return {
        tensor.name: _array(value[tensor.name], tensor, f"{pointer}/{_escape(tensor.name)}")
        for tensor in signature.inputs
    }


def _single_input(signature: Signature, pointer: str) -> Tensor:
    if len(signature.inputs) != 1:
        names = ", ".join(tensor.name for tensor in signature.inputs)
        raise invalid_field(
            pointer, "missing_input", f"expected an object with a value for each input: {names}"
        )
    return signature.inputs[0]


def _check_names(value: Any, signature: Signature, pointer: str) -> None:
    expected = {tensor.name: tensor for tensor in signature.inputs}
    names = ", ".join(sorted(expected))
    if not isinstance(value, dict):
        raise invalid_field(pointer, "invalid_type", f"expected an object with the inputs: {names}")
    for name in sorted(set(expected) - set(value)):
        raise invalid_field(
            f"{pointer}/{_escape(name)}",
            "missing_input",
            f"the input {name!r} is missing; expected {expected[name].describe()}",
        )
    for name in sorted(set(value) - set(expected)):
        raise invalid_field(
            f"{pointer}/{_escape(name)}",
            "unknown_input",
            f"no such input; the model takes: {names}",
        )


def _array(value: Any, tensor: Tensor, pointer: str, *, suffix: str = "") -> Any:
    """Return `value` as an array of the tensor's dtype, shape checked.

    `suffix` is what follows the index of an instance in the pointer of a row-format element.
    """
    return as_input(_converted(value, tensor, pointer, suffix), tensor, pointer)


def flat_array(value: Any, shape: Tuple[int, ...], tensor: Tensor, pointer: str) -> Any:
    """Return a list of all elements, in row-major order, as an array of this shape.

    Raises:
        Problem: 400, naming the field and what was expected there.
    """
    _check_shape(shape, tensor, pointer)
    array = _converted(value, tensor, pointer, "")
    size = math.prod(shape)
    if array.size != size:
        message = f"the shape {describe_shape(shape)} has {size} elements, found {array.size}"
        raise invalid_field(pointer, "shape_mismatch", message)
    try:
        shaped = array.reshape(shape)
    except ValueError as error:  # no elements, and sizes that no array has
        raise invalid_field(
            pointer, "shape_mismatch", f"no array has this shape: {error}"
        ) from error
    return as_input(shaped, tensor, pointer)


def _converted(value: Any, tensor: Tensor, pointer: str, suffix: str) -> Any:
    """Return the value as an array of the tensor's kind, of whatever shape it has."""
    kind = _kind(tensor, pointer)
    try:
        array = _strings(value, tensor, pointer, suffix) if kind == "s" else _numbers(value, kind)
        if array is None:
            raise _first_fault(value, kind, tensor, (pointer, suffix))
    except (RecursionError, ValueError) as error:  # or more dimensions than any array has
        message = f"nested too deeply: the input {tensor.name!r} takes {tensor.describe()}"
        raise invalid_field(pointer, "shape_mismatch", message) from error
    return array


def as_input(array: Any, tensor: Tensor, pointer: str) -> Any:
    """Return an array of the right kind with the tensor's dtype; shape and range are checked.

    Raises:
        Problem: 400, naming the field and what was expected there.
    """
    kind = _kind(tensor, pointer)
    _check_shape(array.shape, tensor, pointer)
    if kind == "i":
        limits = np.iinfo(tensor.dtype)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise _out_of_range(tensor, pointer)
    if kind == "s":
        return array
    # NumPy has no bfloat16; TensorFlow casts from float32, whose range is the same.
    dtype = "float32" if tensor.dtype == "bfloat16" else tensor.dtype
    with np.errstate(over="ignore"):
        cast = array.astype(dtype, copy=False)
    # Infinity is itself; a number that becomes infinity does not fit.
    is_suspect = kind == "f" and cast is not array and not np.isfinite(cast).all()
    if is_suspect and (np.isinf(cast) & np.isfinite(array)).any():
        raise _out_of_range(tensor, pointer)
    return cast


def _out_of_range(tensor: Tensor, pointer: str) -> Problem:
    message = f"a number does not fit {tensor.dtype} (input {tensor.name!r})"
    return invalid_field(pointer, "out_of_range", message)


def _kind(tensor: Tensor, pointer: str) -> str:
    if tensor.dtype == "string":
        return "s"
    if tensor.dtype == "bool":
        return "b"
    if tensor.dtype in _INTEGERS:
        return "i"
    if tensor.dtype in _FLOATS:
        return "f"
    raise Problem(
        501,
        "unsupported_dtype",
        f"{pointer}: the input {tensor.name!r} is {tensor.dtype}, which JSON cannot carry.",
    )


def _numbers(value: Any, kind: str) -> Any:
    """Return the fast conversion, or None where an element is not of the expected kind."""
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        return None
    found = array.dtype.kind
    if array.size == 0:
        return array.astype({"b": np.bool_, "i": np.int64, "f": np.float64}[kind])
    if kind == "b":
        return array if found == "b" else None
    if kind == "i":
        return array if found in "iu" else None
    return array if found in "iuf" else None


def _strings(value: Any, tensor: Tensor, pointer: str, suffix: str) -> Any:
    shape, flat = _flatten_strings(value, tensor, (pointer, suffix))
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(shape)


def _flatten_strings(
    value: Any, tensor: Tensor, where: Tuple[str, str]
) -> Tuple[Tuple[int, ...], List[bytes]]:
    if isinstance(value, list):
        parts = [
            _flatten_strings(item, tensor, _inside(where, index))
            for index, item in enumerate(value)
        ]
        shapes = {shape for shape, _ in parts}
        if len(shapes) > 1:
            raise _ragged(tensor, where)
        inner = parts[0][0] if parts else ()
        return (len(value), *inner), [item for _, items in parts for item in items]
    if isinstance(value, str):
        return (), [value.encode()]
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return (), [base64.b64decode(value["b64"], validate=True)]
        except (binascii.Error, ValueError) as error:
            raise invalid_field(
                where[0] + "/b64", "invalid_base64", "this is not base64"
            ) from error
    raise _wrong_kind("s", tensor, where)


def _check_shape(found: Tuple[int, ...], tensor: Tensor, pointer: str) -> None:
    if tensor.shape is None:
        return
    fits = len(found) == len(tensor.shape) and all(
        expected in (-1, size) for expected, size in zip(tensor.shape, found)
    )
    if not fits:
        raise invalid_field(
            pointer,
            "shape_mismatch",
            f"the input {tensor.name!r} takes {tensor.describe()}, found {describe_shape(found)}",
        )


def _first_fault(value: Any, kind: str, tensor: Tensor, where: Tuple[str, str]) -> Problem:
    """Return the problem of the first element of the wrong kind, else of the shape."""
    return _search(value, kind, tensor, where) or _ragged(tensor, where)


def _search(value: Any, kind: str, tensor: Tensor, where: Tuple[str, str]) -> Any:
    if isinstance(value, list):
        for index, item in enumerate(value):
            fault = _search(item, kind, tensor, _inside(where, index))
            if fault:
                return fault
        return None
    fits = {
        "b": isinstance(value, bool),
        "i": isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63,
        "f": isinstance(value, (int, float)) and not isinstance(value, bool),
    }[kind]
    return None if fits else _wrong_kind(kind, tensor, where)


def _wrong_kind(kind: str, tensor: Tensor, where: Tuple[str, str]) -> Problem:
    return invalid_field(
        where[0],
        "invalid_type",
        f"expected {_KIND_WORDS[kind]}: the input {tensor.name!r} takes {tensor.describe()}",
    )


def _ragged(tensor: Tensor, where: Tuple[str, str]) -> Problem:
    return invalid_field(
        where[0],
        "shape_mismatch",
        f"the lists are not all of one length: the input {tensor.name!r} takes {tensor.describe()}",
    )


def _inside(where: Tuple[str, str], index: int) -> Tuple[str, str]:
    """Return the place of an element; a row's suffix goes right after its first index."""
    pointer, suffix = where
    return f"{pointer}/{index}{suffix}", ""


def _escape(name: str) -> str:
    """Return a name as a JSON pointer segment (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
