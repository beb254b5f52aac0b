"""Compare what a model answers with what it is known to answer, and with its signature."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, List

import numpy as np

from .encode import dump, plain
from .signature import Signature, Tensor

Arrays = Dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """An input of the default signature and its answer.

    Attributes:
        inputs: values by name, as the columnar format of a request has them.
        outputs: values by name, as an answer has them.
        relative_tolerance, absolute_tolerance: a number matches when it differs by at most
            absolute + relative · |stored|, as `numpy.isclose` has it.
    """

    inputs: Dict[str, Any]
    outputs: Dict[str, Any]
    relative_tolerance: float
    absolute_tolerance: float


def parse_sample(text: str) -> Sample:
    """Read a sample from its JSON form."""
    return Sample(**json.loads(text))


def find_difference(sample: Sample, answer: Arrays) -> str:
    """Say where the answer differs from the stored one; empty: nowhere."""
    missing = sorted(set(sample.outputs) ^ set(answer))
    if missing:
        return f"the outputs {', '.join(missing)} are on one side only"
    for name, stored in sample.outputs.items():
        found = answer[name]
        if found.dtype.kind in "OSU":
            if json.loads(dump(plain(name, found))) != stored:
                return f"{name} is another text than the stored one"
            continue
        expected = np.asarray(stored, dtype=np.float64)
        if found.shape != expected.shape:
            return f"{name} has shape {list(found.shape)}, stored is {list(expected.shape)}"
        matches = np.isclose(
            found.astype(np.float64), expected,
            rtol=sample.relative_tolerance, atol=sample.absolute_tolerance, equal_nan=True,
        )  # fmt: skip
        if not matches.all():
            where = tuple(int(place) for place in np.argwhere(~matches)[0])
            count = int(matches.size - np.count_nonzero(matches))
            return (
                f"{name}{list(where)} is {found[where]:g}, stored is {expected[where]:g}"
                f" (tolerance {sample.absolute_tolerance:g} + {sample.relative_tolerance:g} of it;"
                f" {count} of {matches.size} values differ)"
            )
    return ""


def find_misfit(signature: Signature, answer: Arrays) -> str:
    """Say which output has another shape than the signature promises; empty: none."""
    wrong: List[str] = [
        f"{tensor.name} has shape {list(answer[tensor.name].shape)}, its signature says"
        f" {tensor.describe()}"
        for tensor in signature.outputs
        if not _fits(tensor, answer[tensor.name].shape)
    ]
    return "; ".join(wrong)


def _fits(tensor: Tensor, shape: Any) -> bool:
    if tensor.shape is None:
        return True
    return len(shape) == len(tensor.shape) and all(
        wanted in (-1, size) for wanted, size in zip(tensor.shape, shape)
    )
