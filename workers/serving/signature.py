"""What a model takes and gives, as plain values (no TensorFlow here)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
Shape = Optional[Tuple[int, ...]]
"""Sizes of the dimensions, -1 for any size; None for any rank."""


@dataclass(frozen=True)
class Tensor:
    """One named input or output."""

    name: str
    dtype: str
    shape: Shape

    @property
    def is_batched(self) -> bool:
        """Say whether the first dimension may have any size."""
        return self.shape is not None and len(self.shape) > 0 and self.shape[0] == -1

    def describe(self) -> str:
        """Return dtype and shape for people: `float32 [?, 784]`."""
        return f"{self.dtype} {describe_shape(self.shape)}"

    def as_json(self) -> Dict[str, Any]:
        """Return the JSON form: name, dtype, shape."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": None if self.shape is None else list(self.shape),
        }


@dataclass(frozen=True)
class Signature:
    """One way to call a model."""

    name: str
    inputs: Tuple[Tensor, ...]
    outputs: Tuple[Tensor, ...]
    method_name: str = PREDICT

    @property
    def is_batched(self) -> bool:
        """Say whether every input and output has a free first dimension."""
        return all(tensor.is_batched for tensor in self.inputs + self.outputs)

    def as_json(self) -> Dict[str, Any]:
        """Return the JSON form: signature_name, inputs, outputs."""
        return {
            "signature_name": self.name,
            "inputs": [tensor.as_json() for tensor in self.inputs],
            "outputs": [tensor.as_json() for tensor in self.outputs],
        }


def parse_signature(name: str, document: Dict[str, Any]) -> Signature:
    """Build a signature from its JSON form (`inputs` and `outputs` lists)."""
    return Signature(
        name,
        tuple(_parse_tensor(tensor) for tensor in document["inputs"]),
        tuple(_parse_tensor(tensor) for tensor in document["outputs"]),
        document.get("method_name") or PREDICT,
    )


def describe_shape(shape: Shape) -> str:
    """Return a shape for people: `[?, 784]`, `any shape`."""
    if shape is None:
        return "any shape"
    return "[" + ", ".join("?" if size < 0 else str(size) for size in shape) + "]"


def _parse_tensor(document: Dict[str, Any]) -> Tensor:
    shape = document["shape"]
    return Tensor(document["name"], document["dtype"], None if shape is None else tuple(shape))
