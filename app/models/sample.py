"""Whether the values of a sample fit the signature. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from app.models.schemas import TensorRead

MAX_ELEMENTS = 200_000
"""Of all inputs and outputs of a sample together."""
_MOST = 2**64
"""No tensor has whole numbers beyond."""


def misfits(
    side: str, tensors: Sequence[TensorRead], values: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Pointers and messages of the values that do not fit; empty: all do.

    Args:
        side: ``inputs`` or ``outputs``.
        tensors: of that side, as the signature has them.
        values: nested lists by name.
    """
    known = {tensor.name: tensor for tensor in tensors}
    found = [
        (f"/{side}/{name}", f"The signature has no such tensor; it has {', '.join(sorted(known))}.")
        for name in sorted(set(values) - set(known))
    ]
    found += [
        (f"/{side}/{name}", f"It is missing: {_described(known[name])}.")
        for name in sorted(set(known) - set(values))
    ]
    for name in sorted(set(known) & set(values)):
        words = _misfit(known[name], values[name])
        if words:
            found.append((f"/{side}/{name}", f"{words}; expected {_described(known[name])}."))
    return found


def elements(value: Any) -> int:
    """How many numbers or texts there are in nested lists."""
    if isinstance(value, dict) and set(value) != {"b64"}:
        return sum(elements(item) for item in value.values())
    return sum(elements(item) for item in value) if isinstance(value, list) else 1


def _misfit(tensor: TensorRead, value: Any) -> str:
    shape = _shape(value)
    if shape is None:
        return "The lists are not all of one length"
    wanted = tensor.shape
    if wanted is not None and not (
        len(shape) == len(wanted)
        and all(size in (-1, found) for size, found in zip(wanted, shape, strict=True))
    ):
        return f"The shape is {shape}"
    wrong = next((item for item in _flat(value) if not _is_kind(tensor.dtype, item)), None)
    return "" if wrong is None else f"{str(wrong)[:100]!r} is of another type"


def _shape(value: Any) -> list[int] | None:
    """Lengths of nested lists; None: they are not all the same."""
    if not isinstance(value, list):
        return []
    shapes = [_shape(item) for item in value]
    if not shapes:
        return [0]
    first = shapes[0]
    return None if first is None or any(each != first for each in shapes) else [len(value), *first]


def _flat(value: Any) -> list[Any]:
    return (
        [inner for item in value for inner in _flat(item)] if isinstance(value, list) else [value]
    )


def _is_kind(dtype: str, value: Any) -> bool:
    if dtype == "string":
        return isinstance(value, str) or _is_encoded(value)
    if dtype == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(value, int) and abs(value) > _MOST:
        return False
    return "float" in dtype or (math.isfinite(value) and value == int(value))


def _is_encoded(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _described(tensor: TensorRead) -> str:
    if tensor.shape is None:
        return f"{tensor.dtype}, any shape"
    sizes = ", ".join("?" if size < 0 else str(size) for size in tensor.shape)
    return f"{tensor.dtype} [{sizes}]"
