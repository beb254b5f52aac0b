"""Stored samples: what matches, and how a difference is told."""

import math
from typing import Any

import numpy as np
import pytest

from workers.serving.sample import Sample, find_difference, find_misfit, parse_sample
from workers.serving.signature import Signature, Tensor

SIGNATURE = Signature(
    "serving_default",
    (Tensor("x", "float32", (-1, 2)),),
    (Tensor("y", "float32", (-1, 3)), Tensor("free", "float32", None)),
)


def sample(**outputs: Any) -> Sample:
    return Sample({}, outputs, relative_tolerance=0.01, absolute_tolerance=0.001)


def floats(*values: Any) -> Any:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        ([1.0, 2.0], floats(1.0, 2.0)),
        ([100.0], floats(100.9)),
        ([0.0], floats(0.0009)),
        ([[True], [False]], np.array([[True], [False]])),
        ([3], np.array([3], dtype=np.int64)),
        (["ok", "nö"], np.array([b"ok", "nö".encode()], dtype=object)),
        ([math.nan], floats(math.nan)),
    ],
)
def test_what_is_within_the_tolerance_matches(stored: Any, found: Any) -> None:
    assert find_difference(sample(y=stored), {"y": found}) == ""


@pytest.mark.parametrize(
    ("stored", "found", "told"),
    [
        ([1.0, 2.0, 3.0], floats(1.0, 2.1, 4.0), "y[1] is 2.1, stored is 2"),
        ([1.0, 2.0], floats(1.0, 2.1), "1 of 2 values differ"),
        ([1.0], floats([1.0]), "y has shape [1, 1], stored is [1]"),
        ([1.0], floats(math.nan), "y[0] is nan"),
        ([3], np.array([4], dtype=np.int64), "y[0] is 4, stored is 3"),
        (["a"], np.array([b"b"], dtype=object), "y is another text"),
    ],
)
def test_a_difference_is_told_with_its_place(stored: Any, found: Any, told: str) -> None:
    assert told in find_difference(sample(y=stored), {"y": found})


def test_both_sides_have_the_same_outputs() -> None:
    assert "z" in find_difference(sample(y=[1.0]), {"y": floats(1.0), "z": floats(1.0)})
    assert "y" in find_difference(sample(y=[1.0]), {})


def test_bytes_are_compared_as_they_are_answered() -> None:
    found = {"raw_bytes": np.array([b"\xff"], dtype=object)}

    assert find_difference(sample(raw_bytes=[{"b64": "/w=="}]), found) == ""


@pytest.mark.parametrize(("shape", "fits"), [((1, 3), True), ((1, 4), False), ((3,), False)])
def test_the_signature_promises_shapes(shape: tuple[int, ...], fits: bool) -> None:
    found = find_misfit(SIGNATURE, {"y": np.zeros(shape), "free": np.zeros(())})

    assert (found == "") is fits
    assert fits or f"y has shape {list(shape)}" in found


def test_a_sample_is_read_from_json() -> None:
    text = '{"inputs": {}, "outputs": {"y": [1]}, "relative_tolerance": 0, "absolute_tolerance": 1}'

    assert parse_sample(text).outputs == {"y": [1]}
