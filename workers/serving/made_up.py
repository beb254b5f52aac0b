"""Inputs made from a signature alone, for a first inference."""

from __future__ import annotations

import itertools
from typing import Any, Dict, Iterator, Optional, Tuple

import numpy as np

from .signature import Signature, Tensor

_GUESSED_SIZES = (1, 32, 224)
_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
"""A black 1×1 PNG, for models that decode images from strings."""
_GUESSED_STRINGS = (b"", _PIXEL)


def made_up_inputs(signature: Signature, seed: Optional[int] = None) -> Iterator[Dict[str, Any]]:
    """Yield inputs to be tried one after the other, an array by name each.

    Sizes that the signature leaves open are tried as 1, 32 and 224 (images), strings as empty
    and as a tiny picture.

    Args:
        signature: what is to be called.
        seed: of the numbers: in [0, 1), or 0 and 1 where they are whole; None: all are 0.
    """
    has_strings = any(tensor.dtype == "string" for tensor in signature.inputs)
    strings = _GUESSED_STRINGS if has_strings else _GUESSED_STRINGS[:1]
    is_open = any(
        tensor.shape is None or -1 in tensor.shape[1:] or tensor.shape == (-1,)
        for tensor in signature.inputs
    )
    sizes = _GUESSED_SIZES if is_open else _GUESSED_SIZES[:1]
    for size, text in itertools.product(sizes, strings):
        numbers = None if seed is None else np.random.default_rng(seed)
        yield {tensor.name: _made_up(tensor, size, text, numbers) for tensor in signature.inputs}


def _made_up(tensor: Tensor, size: int, text: bytes, numbers: Any) -> Any:
    shape: Tuple[int, ...] = (1,) if tensor.shape is None else tensor.shape
    filled = tuple(
        (1 if place == 0 else size) if each < 0 else each for place, each in enumerate(shape)
    )
    if tensor.dtype == "string":
        array = np.empty(filled, dtype=object)
        array[...] = text
        return array
    dtype = np.dtype(np.float32 if tensor.dtype == "bfloat16" else tensor.dtype)
    if numbers is None:
        return np.zeros(filled, dtype=dtype)
    drawn = numbers.random(filled) if dtype.kind == "f" else numbers.integers(0, 2, filled)
    return np.asarray(drawn).astype(dtype)
