"""Load ONNX models. The only file that imports ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable, List

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from .inspect_model import DEFAULT_SIGNATURE
from .model import (
    Arrays,
    Model,
    ModelFailedError,
    ModelRefusedError,
    UnservableModelError,
    describe_refusal,
)
from .signature import Shape, Signature, Tensor

_DTYPES = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16",
    "tensor(int8)": "int8", "tensor(int16)": "int16", "tensor(int32)": "int32",
    "tensor(int64)": "int64", "tensor(uint8)": "uint8", "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32", "tensor(uint64)": "uint64", "tensor(bool)": "bool",
    "tensor(string)": "string",
}  # fmt: skip
_CANNOT_LOAD = (
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NoSuchFile,
    runtime.NotImplemented,
    runtime.RuntimeException,
)


def load(path: Path) -> Model:
    """Load the `.onnx` file at `path`; tensors that it keeps in other files lie beside it.

    Raises:
        UnservableModelError: it cannot be loaded here, or takes or gives something other than
            tensors.
    """
    options = onnxruntime.SessionOptions()
    # By default a session takes all cores of the machine, whatever the node may use.
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except _CANNOT_LOAD as error:
        raise UnservableModelError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load it: {describe_refusal(error)}"
        ) from error
    signature = Signature(
        DEFAULT_SIGNATURE,
        tuple(_tensor(each, is_input=True) for each in session.get_inputs()),
        tuple(_tensor(each, is_input=False) for each in session.get_outputs()),
    )
    names = [tensor.name for tensor in signature.outputs]

    def call(arrays: Arrays) -> Arrays:
        given = {tensor.name: _given(arrays[tensor.name], tensor) for tensor in signature.inputs}
        try:
            results = session.run(names, given)
        except runtime.InvalidArgument as error:
            raise ModelRefusedError(describe_refusal(error)) from error
        except (runtime.Fail, runtime.RuntimeException, runtime.NotImplemented) as error:
            raise ModelFailedError(describe_refusal(error)) from error
        return {name: _found(result) for name, result in zip(names, results)}

    return Model(
        {DEFAULT_SIGNATURE: signature},
        {DEFAULT_SIGNATURE: call},
        DEFAULT_SIGNATURE,
        runtime=f"onnxruntime {onnxruntime.__version__}",
    )


def _tensor(described: Any, *, is_input: bool) -> Tensor:
    side = "input" if is_input else "output"
    dtype = _DTYPES.get(described.type)
    if dtype is None:
        raise UnservableModelError(
            f"The {side} {described.name!r} is a {described.type}; only tensors of numbers,"
            " booleans and strings can be served. Of scikit-learn's classifiers, convert with"
            " options={'zipmap': False}."
        )
    return Tensor(described.name, dtype, _shape(described.shape, is_input=is_input))


def _shape(sizes: List[Any], *, is_input: bool) -> Shape:
    """Return the shape: dimensions with a name, or without a size, may have any."""
    if not sizes and not is_input:
        return None  # a scalar, or nothing was said about it
    return tuple(size if isinstance(size, int) and size >= 0 else -1 for size in sizes)


def _given(array: Any, tensor: Tensor) -> Any:
    if tensor.dtype != "string":
        return np.asarray(array, dtype=tensor.dtype)
    try:
        return _each(array, lambda value: value.decode() if isinstance(value, bytes) else value)
    except UnicodeDecodeError as error:
        raise ModelRefusedError(
            f"{tensor.name} has bytes that are no UTF-8; strings of ONNX models are text"
        ) from error


def _found(array: Any) -> Any:
    """Return an output; texts as bytes, as TensorFlow has them."""
    found = np.asarray(array)
    return _each(found, lambda value: str(value).encode()) if found.dtype.kind in "OU" else found


def _each(array: Any, convert: Callable[[Any], Any]) -> Any:
    flat = [convert(value) for value in np.ravel(array)]
    changed = np.empty(len(flat), dtype=object)
    changed[:] = flat
    return changed.reshape(np.shape(array))
