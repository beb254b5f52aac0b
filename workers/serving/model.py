"""Load a model and call it. The only file of this program that imports TensorFlow."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np
import tensorflow as tf

from .decode import decode_request
from .inspect_model import DEFAULT_SIGNATURE, read_signatures
from .problems import Problem
from .sample import Sample, find_difference, find_misfit
from .signature import Signature, Tensor, parse_signature

_GUESSED_SIZES = (1, 32, 224)
_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
"""A black 1×1 PNG, for models that decode images from strings."""
_TRACE_LINES = ("Graph execution error", "Detected at", "File ")
_GUESSED_STRINGS = (b"", _PIXEL)


class UnservableModelError(Exception):
    """The model cannot be loaded, has nothing to call, or fails on every sample."""


class Model:
    """A loaded model: signatures by name and the functions behind them."""

    def __init__(
        self,
        signatures: Dict[str, Signature],
        functions: Dict[str, Callable[..., Any]],
        default: str,
    ) -> None:
        self.signatures = signatures
        self.default = default
        self._functions = functions

    def run(self, signature: str, arrays: Dict[str, Any]) -> Dict[str, Any]:
        """Call one signature with an array per input; return an array per output.

        Raises:
            tf.errors.OpError, ValueError, TypeError: the model refuses these values.
        """
        described = self.signatures[signature]
        tensors = {
            tensor.name: tf.constant(arrays[tensor.name], dtype=tf.as_dtype(tensor.dtype))
            for tensor in described.inputs
        }
        results = self._functions[signature](**tensors)
        return {tensor.name: _as_array(results[tensor.name]) for tensor in described.outputs}

    def warm_up(self) -> Dict[str, Any]:
        """Run a real inference of the default signature on made-up values; return the outputs.

        Sizes that the signature leaves open are tried as 1, 32 and 224 (images), strings as empty
        and as a tiny picture.

        Raises:
            UnservableModelError: the model refused all of them, and the text has each reason; or
                the answer has other shapes than the signature.
        """
        signature = self.signatures[self.default]
        reasons: List[str] = []
        for arrays in _samples(signature):
            try:
                answer = self.run(self.default, arrays)
            except (tf.errors.OpError, ValueError, TypeError) as error:
                shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
                reasons.append(f"{shapes}: {describe_refusal(error)}")
                continue
            if misfit := find_misfit(signature, answer):
                raise UnservableModelError(f"The model answers a made-up sample wrongly: {misfit}")
            return answer
        raise UnservableModelError(
            "The model refuses every sample made from its signature; give one. "
            + "; ".join(dict.fromkeys(reasons))
        )

    def check(self, sample: Sample) -> None:
        """Run the stored sample through the default signature and compare the answers.

        Raises:
            UnservableModelError: the model refused the sample, or answered something else.
        """
        try:
            request = decode_request({"inputs": sample.inputs}, self.signatures, self.default)
            answer = self.run(self.default, request.arrays)
        except (Problem, tf.errors.OpError, ValueError, TypeError) as error:
            raise UnservableModelError(
                f"The model refuses its stored sample: {describe_refusal(error)}"
            ) from error
        if difference := find_difference(sample, answer):
            raise UnservableModelError(
                f"The model answers its stored sample differently: {difference}"
            )


def load_model(folder: Path) -> Model:
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
    functions = {name: _keep_alive(loaded, name) for name in document["signatures"]}
    signatures = {
        name: parse_signature(name, body) for name, body in document["signatures"].items()
    }
    return Model(signatures, functions, default)


def describe_refusal(error: Exception) -> str:
    """Return the first line of what TensorFlow said, without its node trace."""
    text = getattr(error, "message", None) or str(error)
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(_TRACE_LINES)]
    return (useful or lines or [type(error).__name__])[0][:500]


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
    return Model({DEFAULT_SIGNATURE: signature}, {DEFAULT_SIGNATURE: by_name}, DEFAULT_SIGNATURE)


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


def _samples(signature: Signature) -> Iterator[Dict[str, Any]]:
    has_strings = any(tensor.dtype == "string" for tensor in signature.inputs)
    strings = _GUESSED_STRINGS if has_strings else _GUESSED_STRINGS[:1]
    is_open = any(
        tensor.shape is None or -1 in tensor.shape[1:] or tensor.shape == (-1,)
        for tensor in signature.inputs
    )
    sizes = _GUESSED_SIZES if is_open else _GUESSED_SIZES[:1]
    for size, text in itertools.product(sizes, strings):
        yield {tensor.name: _sample(tensor, size, text) for tensor in signature.inputs}


def _sample(tensor: Tensor, size: int, text: bytes) -> Any:
    shape: Tuple[int, ...] = (1,) if tensor.shape is None else tensor.shape
    filled = tuple(
        (1 if place == 0 else size) if each < 0 else each for place, each in enumerate(shape)
    )
    if tensor.dtype == "string":
        array = np.empty(filled, dtype=object)
        array[...] = text
        return array
    return np.zeros(filled, dtype=np.float32 if tensor.dtype == "bfloat16" else tensor.dtype)


def _as_array(tensor: Any) -> Any:
    if tensor.dtype == tf.bfloat16:
        tensor = tf.cast(tensor, tf.float32)
    return np.asarray(tensor.numpy())
