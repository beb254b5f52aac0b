"""Score one node's share of a dataset's rows (no TensorFlow here).

Rows are taken in mini batches, which go round the nodes: what a node scores depends on nothing
but the dataset and the number of nodes, so that an attempt after a lost one scores the same.
"""

from __future__ import annotations

import csv
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from .decode import ROW, decode_request
from .encode import dump, prediction_rows
from .problems import Problem
from .rows import Row
from .signature import Signature

PREDICTIONS, FAILED_ROWS, COUNTS = "predictions", "failed_rows", "counts"
_PROGRESS_SECONDS = 1.0

Call = Callable[[Dict[str, Any]], Dict[str, Any]]
Log = Callable[[str, float], None]


class TooManyFailedRowsError(Exception):
    """More rows failed than may."""


@dataclass(frozen=True)
class Share:
    """What this node does, and how."""

    index: int
    count: int
    mini_batch_rows: int
    max_failed_rows: Optional[int]
    output_format: str

    def name_of(self, suffix: str) -> str:
        """Return the name of this node's file among those of all nodes."""
        return f"part-{self.index:05d}-of-{self.count:05d}.{suffix}"


class Scorer:
    """Scores rows, writes predictions, failed rows and counts.

    Args:
        signature: the model's.
        call: the model: an array per input to an array per output; a problem when it refuses.
        share: which rows, and how.
        folder: where the files go.
        log: takes progress: a name and a value.
    """

    def __init__(
        self, signature: Signature, call: Call, share: Share, folder: Path, log: Log
    ) -> None:
        self._signature = signature
        self._call = call
        self._share = share
        self._folder = folder
        self._log = log
        self._scored = 0
        self._failed = 0

    def score(self, rows: Iterable[Row]) -> None:
        """Score this node's share of all rows of the dataset.

        Raises:
            TooManyFailedRowsError: what was scored by then is written.
        """
        share = self._share
        predictions = self._open(PREDICTIONS, share.output_format)
        failures = self._open(FAILED_ROWS, "jsonl")
        with predictions, failures:
            writer = _Writer(predictions, share.output_format, self._signature)
            started = logged = time.monotonic()
            try:
                for batch in own_batches(rows, share):
                    for row, result in self._score_batch(batch):
                        if isinstance(result, Problem):
                            self._note(failures, row, result)
                        else:
                            self._scored += 1
                            writer.write(row, result)
                    if time.monotonic() - logged >= _PROGRESS_SECONDS:
                        logged = time.monotonic()
                        self._progress(logged - started)
            finally:
                self._progress(time.monotonic() - started)
                self._write_counts()

    def _open(self, kind: str, suffix: str) -> IO[str]:
        path = self._folder / kind / self._share.name_of(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="utf-8", newline="")

    def _score_batch(self, batch: List[Row]) -> Iterator[Tuple[Row, Any]]:
        """Return each row with its prediction or the problem with it."""
        good: List[Tuple[Row, Any]] = []
        for row in batch:
            try:
                good.append((row, row.instance()))
            except Problem as problem:
                yield row, problem
        if not good:
            return
        try:
            yield from self._predict(good)
        except Problem:
            # One of them is at fault: each alone, so that only that one fails.
            for one in good:
                try:
                    yield from self._predict([one])
                except Problem as problem:
                    yield one[0], problem

    def _predict(self, chosen: List[Tuple[Row, Any]]) -> List[Tuple[Row, Any]]:
        signature = self._signature
        body = {ROW: [instance for _, instance in chosen]}
        request = decode_request(body, {signature.name: signature}, signature.name)
        found = prediction_rows(signature, self._call(request.arrays))
        if len(found) != len(chosen):
            message = f"The model gave {len(found)} predictions for {len(chosen)} rows."
            raise Problem(400, "outputs_not_in_rows", message)
        return [(row, prediction) for (row, _), prediction in zip(chosen, found)]

    def _note(self, failures: IO[str], row: Row, problem: Problem) -> None:
        self._failed += 1
        found = {"file": row.file, "row": row.number, "code": problem.code}
        failures.write(json.dumps({**found, "message": problem.detail}) + "\n")
        limit = self._share.max_failed_rows
        if limit is not None and self._failed > limit:
            raise TooManyFailedRowsError(
                f"{self._failed} rows failed, {limit} may; the last was row {row.number} of"
                f" {row.file}: {problem.detail}"
            )

    def _progress(self, seconds: float) -> None:
        name = f"shard_{self._share.index}"
        self._log(f"{name}_rows_scored", self._scored)
        self._log(f"{name}_rows_failed", self._failed)
        done = self._scored + self._failed
        self._log(f"{name}_rows_per_second", round(done / max(seconds, 1e-6), 3))

    def _write_counts(self) -> None:
        path = self._folder / COUNTS / self._share.name_of("json")
        path.parent.mkdir(parents=True, exist_ok=True)
        counts = {"rows_scored": self._scored, "rows_failed": self._failed}
        path.write_text(json.dumps(counts) + "\n")


def own_batches(rows: Iterable[Row], share: Share) -> Iterator[List[Row]]:
    """Return those mini batches that are this node's."""
    left = iter(rows)
    for number in itertools.count():
        batch = list(itertools.islice(left, share.mini_batch_rows))
        if not batch:
            return
        if number % share.count == share.index:
            yield batch


class _Writer:
    """Writes predictions with the place of their rows, as JSON lines or CSV."""

    def __init__(self, file: IO[str], form: str, signature: Signature) -> None:
        self._file = file
        self._names = [tensor.name for tensor in signature.outputs]
        self._csv = csv.writer(file, lineterminator="\n") if form == "csv" else None
        if self._csv is not None:
            self._csv.writerow(["file", "row", *self._names])

    def write(self, row: Row, prediction: Any) -> None:
        """Add one row."""
        if self._csv is None:
            found = {"file": row.file, "row": row.number, "prediction": prediction}
            self._file.write(dump(found).decode())
            return
        values = [prediction] if len(self._names) == 1 else [prediction[n] for n in self._names]
        self._csv.writerow([row.file, row.number, *map(_cell, values)])


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else dump(value).decode().strip()
