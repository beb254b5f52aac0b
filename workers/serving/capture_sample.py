"""Capture what a model answers: `python -m serving.capture_sample --model-dir M --report F`.

Runs once in a node of its own when a model version is registered. The report is a JSON document:
`runtime`, `signature` (null: the model could not be loaded), `sample` (`inputs` and `outputs`;
null: there is none), and with no sample `error`, a `code` and a `message`. The exit code is 0
whenever there is a report.
"""

from __future__ import annotations

import argparse
import base64
import logging
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from .decode import decode_request
from .encode import dump, plain
from .inspect_model import UnreadableModelError
from .made_up import made_up_inputs
from .model import (
    Arrays,
    Model,
    ModelFailedError,
    ModelRefusedError,
    UnservableModelError,
    describe_refusal,
    load_model,
)
from .problems import Problem
from .sample import Sample, find_difference, find_misfit

MAX_ELEMENTS = 200_000
"""Of all inputs and outputs of a sample together."""
_SEEDS: Tuple[Optional[int], ...] = (0, None)
_RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE = 0.001, 0.00001
_log = logging.getLogger("capture")


class NoSampleError(Exception):
    """The model gives no sample that replicas could be compared with."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def main(arguments: List[str]) -> int:
    """Write the report; return the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    parser = argparse.ArgumentParser(prog="capture_sample")
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args(arguments)
    report = capture(options.model_dir)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_bytes(dump(report))
    return 0


def capture(path: Path) -> Dict[str, Any]:
    """Load the model at `path` and return the report."""
    report: Dict[str, Any] = {"runtime": "", "signature": None, "sample": None, "error": None}
    try:
        model = load_model(path)
        report["runtime"] = model.runtime
        report["signature"] = model.signatures[model.default].as_json()
        report["sample"] = make_sample(model)
    except NoSampleError as error:
        report["error"] = _error(error.code, str(error))
    except (UnservableModelError, UnreadableModelError) as error:
        report["error"] = _error("model_not_loadable", str(error))
    except Exception as error:
        # Whatever a library raises for a file that it cannot load; the log has all of it.
        _log.exception("the model could not be loaded")
        report["error"] = _error("model_not_loadable", describe_refusal(error))
    return report


def make_sample(model: Model) -> Dict[str, Any]:
    """Return an input made from the default signature, and the model's answer to it.

    Raises:
        NoSampleError: no input was accepted, or the answer is not one to be compared with.
    """
    signature = model.signatures[model.default]
    inputs, first = _answered(model)
    if misfit := find_misfit(signature, first):
        raise NoSampleError("answer_misfit", f"The answer is not as the signature says: {misfit}.")
    count = sum(array.size for array in (*inputs.values(), *first.values()))
    if count > MAX_ELEMENTS:
        raise NoSampleError(
            "sample_too_large",
            f"Input and answer have {count} values; a sample has at most {MAX_ELEMENTS}.",
        )
    if odd := [name for name, array in first.items() if not _is_plain(array)]:
        raise NoSampleError(
            "answer_not_plain",
            f"The answer has values that JSON has no numbers for, in {odd[0]!r}.",
        )
    sample = Sample(
        {name: _as_request(array) for name, array in inputs.items()},
        {name: _as_answer(name, array) for name, array in first.items()},
        _RELATIVE_TOLERANCE,
        _ABSOLUTE_TOLERANCE,
    )
    try:
        # As replicas will do it: from the values that are stored.
        again = decode_request({"inputs": sample.inputs}, model.signatures, model.default)
        second = model.run(model.default, again.arrays)
    except (Problem, ModelRefusedError, ModelFailedError) as error:
        raise NoSampleError(
            "inputs_refused", f"The model answers an input once only: {describe_refusal(error)}"
        ) from error
    if difference := find_difference(sample, second):
        raise NoSampleError(
            "answers_differ",
            f"The same input is answered differently a second time: {difference}.",
        )
    return {"inputs": sample.inputs, "outputs": sample.outputs}


def _answered(model: Model) -> Tuple[Arrays, Arrays]:
    """Return the first made-up input that the model answers, and the answer."""
    signature = model.signatures[model.default]
    reasons: List[str] = []
    for seed in _SEEDS:
        for arrays in made_up_inputs(signature, seed):
            try:
                return arrays, model.run(model.default, arrays)
            except (ModelRefusedError, ModelFailedError) as error:
                shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
                reasons.append(f"{shapes}: {describe_refusal(error)}")
    raise NoSampleError(
        "inputs_refused",
        "The model refuses every input made from its signature; give a sample. "
        + "; ".join(dict.fromkeys(reasons)),
    )


def _as_request(array: Any) -> Any:
    """Return an input as a request has it; bytes that are no text as base64."""
    return _text(array.tolist()) if array.dtype.kind in "OSU" else array.tolist()


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(item) for item in value]
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _as_answer(name: str, array: Any) -> Any:
    value = plain(name, array)
    return value.tolist() if hasattr(value, "tolist") else value


def _is_plain(array: Any) -> bool:
    kind = array.dtype.kind
    return bool(np.isfinite(array).all()) if kind == "f" else kind in "biuOSU"


def _error(code: str, message: str) -> Dict[str, str]:
    return {"code": code, "message": message[:2000]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
