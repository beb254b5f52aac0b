"""Load SavedModels and whole Keras models. The only file that loads TensorFlow's models."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import tensorflow as tf

from .inspect_model import DEFAULT_SIGNATURE, read_signatures
from .model import (
    Arrays,
    Model,
    ModelFailedError,
    ModelRefusedError,
    UnservableModelError,
    describe_refusal,
)
from .signature import Signature, Tensor, parse_signature

_RUNTIME = f"TensorFlow {tf.__version__}"
_AT_FAULT = (
    tf.errors.InvalidArgumentError,
    tf.errors.FailedPreconditionError,
    ValueError,
    TypeError,
)
"""What TensorFlow raises where the values do not suit the model."""


def load(folder: Path) -> Model:
    """Load the SavedModel folder, or the `.keras` or `.h5` file, at `folder`.

    Raises:
        UnservableModelError: there is nothing to call in it, or it cannot be loaded here.
    """
    if folder.is_file():
        return _load_keras(folder)
    document = read_signatures(folder)
    default = document["default_signature"]
    if default is None:
        names = ", ".join(sorted(document["signatures"]))
        raise UnservableModelError(
            f"The model has no signature {DEFAULT_SIGNATURE!r} and more than one other: {names}."
        )
    tags = document["tags"] or None
    loaded = tf.saved_model.load(str(folder), tags=tags)
    signatures = {
        name: parse_signature(name, body) for name, body in document["signatures"].items()
    }
    functions = {
        name: _on_arrays(described, _keep_alive(loaded, name))
        for name, described in signatures.items()
    }
    return Model(signatures, functions, default, runtime=_RUNTIME)


def _on_arrays(signature: Signature, function: Callable[..., Any]) -> Callable[[Arrays], Arrays]:
    """Return the function from arrays to arrays, with refusals told apart from failures."""

    def call(arrays: Arrays) -> Arrays:
        try:
            tensors = {
                tensor.name: tf.constant(arrays[tensor.name], dtype=tf.as_dtype(tensor.dtype))
                for tensor in signature.inputs
            }
            results = function(**tensors)
        except _AT_FAULT as error:
            raise ModelRefusedError(describe_refusal(error)) from error
        except tf.errors.OpError as error:
            raise ModelFailedError(describe_refusal(error)) from error
        return {tensor.name: _as_array(results[tensor.name]) for tensor in signature.outputs}

    return call


def _keep_alive(loaded: Any, name: str) -> Callable[..., Any]:
    function = loaded.signatures[name]
    function.trainwright_owner = loaded  # its variables live as long as the loaded object does
    return function  # type: ignore[no-any-return]


def _load_keras(path: Path) -> Model:
    """Load a whole Keras model, refusing code hidden in it (safe_mode)."""
    load = tf.keras.models.load_model
    if "safe_mode" not in inspect.signature(load).parameters:
        raise UnservableModelError(
            f"TensorFlow {tf.__version__} cannot load {path.suffix} safely: use 2.13 or newer,"
            " or register a SavedModel."
        )
    model = load(str(path), compile=False, safe_mode=True)
    inputs = _keras_tensors(model.inputs, _keras_names(model, "input"))
    outputs = _keras_tensors(model.outputs, _keras_names(model, "output"))
    specs = [
        tf.TensorSpec([None if size < 0 else size for size in tensor.shape or ()], tensor.dtype)
        for tensor in inputs
    ]

    @tf.function(input_signature=specs)  # type: ignore[untyped-decorator]
    def call(*values: Any) -> List[Any]:
        given = values[0] if len(values) == 1 else list(values)
        return tf.nest.flatten(model(given, training=False))  # type: ignore[no-any-return]

    def by_name(**values: Any) -> Dict[str, Any]:
        results = call(*(values[tensor.name] for tensor in inputs))
        return {tensor.name: result for tensor, result in zip(outputs, results)}

    signature = Signature(DEFAULT_SIGNATURE, tuple(inputs), tuple(outputs))
    functions = {DEFAULT_SIGNATURE: _on_arrays(signature, by_name)}
    return Model({DEFAULT_SIGNATURE: signature}, functions, DEFAULT_SIGNATURE, runtime=_RUNTIME)


def _keras_names(model: Any, side: str) -> List[str]:
    names = getattr(model, f"{side}_names", None)
    count = len(getattr(model, f"{side}s"))
    return list(names) if names and len(names) == count else [f"{side}_{i}" for i in range(count)]


def _keras_tensors(tensors: Any, names: List[str]) -> List[Tensor]:
    return [
        Tensor(
            name,
            tf.as_dtype(tensor.dtype).name,
            tuple(-1 if size is None else int(size) for size in tensor.shape),
        )
        for name, tensor in zip(names, tensors)
    ]


def _as_array(tensor: Any) -> Any:
    if tensor.dtype == tf.bfloat16:
        tensor = tf.cast(tensor, tf.float32)
    return np.asarray(tensor.numpy())
