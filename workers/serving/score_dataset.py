"""Score a dataset: `python -m serving.score_dataset --model-dir M --data D --outputs O …`.

The program of batch scorings, in the model's environment, on each node of their run. It ends with
exit code 3 when the model cannot be used so, 4 when too many rows failed, 5 when a file cannot be
read.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

from azureml.core import Run

from .batch_scoring import Scorer, Share, TooManyFailedRowsError
from .inspect_model import UnreadableModelError
from .model import (
    Model,
    ModelFailedError,
    ModelRefusedError,
    UnservableModelError,
    load_model,
)
from .problems import Problem
from .rows import SUFFIXES, UnreadableFileError, list_files, read_rows
from .signature import Signature

_log = logging.getLogger("score_dataset")
EXIT_UNSERVABLE, EXIT_TOO_MANY_FAILED, EXIT_UNREADABLE = 3, 4, 5


def main(arguments: List[str]) -> int:
    """Score this node's share; return the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    options = _parse(arguments)
    share = Share(
        index=int(os.environ.get("AZ_BATCHAI_TASK_INDEX", "0")),
        count=options.node_count,
        mini_batch_rows=options.mini_batch_rows,
        max_failed_rows=options.max_failed_rows,
        output_format=options.output_format,
    )
    try:
        model, signature = _load(options.model_dir)
        files = _files(options)
        scorer = Scorer(signature, _caller(model), share, options.outputs, Run.get_context().log)
        scorer.score(read_rows(options.data, files, signature, options.column))
    except (UnservableModelError, UnreadableModelError) as error:
        return _fail(f"the model cannot score datasets: {error}", EXIT_UNSERVABLE)
    except TooManyFailedRowsError as error:
        return _fail(str(error), EXIT_TOO_MANY_FAILED)
    except UnreadableFileError as error:
        return _fail(f"cannot be read: {error}", EXIT_UNREADABLE)
    return 0


def _parse(arguments: List[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="score_dataset")
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--outputs", type=Path, required=True)
    parser.add_argument("--file", action="append", default=[], help="A pattern; absent: all.")
    parser.add_argument("--column", action="append", default=[], help="Of CSV; absent: all.")
    parser.add_argument("--output-format", choices=("jsonl", "csv"), default="jsonl")
    parser.add_argument("--mini-batch-rows", type=int, default=64)
    parser.add_argument("--max-failed-rows", type=int, help="Absent: any number.")
    parser.add_argument("--node-count", type=int, default=1)
    return parser.parse_args(arguments)


def _load(folder: Path) -> tuple[Model, Signature]:
    started = time.monotonic()
    model = load_model(folder)
    signature = model.signatures[model.default]
    fixed = [each for each in signature.inputs if each.shape is not None and not each.is_batched]
    if fixed:
        raise UnservableModelError(
            f"the input {fixed[0].name!r} takes {fixed[0].describe()}, not any number of rows"
        )
    seconds = time.monotonic() - started
    _log.info("loaded %s with %s in %.1f s", signature.name, model.runtime, seconds)
    return model, signature


def _files(options: argparse.Namespace) -> List[str]:
    files = list_files(options.data, options.file)
    others = [file for file in files if Path(file).suffix.lower() not in SUFFIXES]
    if others:
        raise UnreadableFileError(f"{others[0]}: only {', '.join(SUFFIXES)} can be scored")
    _log.info("%d files", len(files))
    return files


def _caller(model: Model) -> Any:
    def call(arrays: Dict[str, Any]) -> Dict[str, Any]:
        try:
            return model.run(model.default, arrays)
        except (ModelRefusedError, ModelFailedError) as error:
            raise Problem(400, "model_refused", str(error)) from error

    return call


def _fail(message: str, code: int) -> int:
    _log.error("%s", message)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
