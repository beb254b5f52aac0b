"""Read the rows of a dataset's files as instances of a prediction request (no TensorFlow here).

CSV with a header, JSON lines, numpy arrays, and pictures for models that decode them themselves.
"""

from __future__ import annotations

import base64
import csv
import fnmatch
import math
import os
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from .encode import load
from .problems import Problem
from .signature import Signature, Tensor

PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png"})
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})


class UnreadableFileError(Exception):
    """A file is not what its name says, or does not fit the model at all."""


class Row(NamedTuple):
    """One row: where it stands, and what makes an instance of it.

    `instance` raises a problem where the row itself is at fault.
    """

    file: str
    number: int
    instance: Callable[[], Any]


def list_files(folder: Path, patterns: Sequence[str]) -> List[str]:
    """Return the paths of all files below the folder that match, in order; no pattern: all."""
    found = []
    for place, _, names in os.walk(str(folder), followlinks=True):
        for name in names:
            found.append((Path(place) / name).relative_to(folder).as_posix())
    return sorted(path for path in found if not patterns or _matches(path, patterns))


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def read_rows(
    folder: Path, files: Sequence[str], signature: Signature, columns: Sequence[str]
) -> Iterator[Row]:
    """Return the rows of all files, one after the other; numbers start with 0 in each.

    Args:
        folder: where the files are.
        files: their paths in it.
        signature: what the model takes.
        columns: of CSV files: those that make up the one input; none: all.

    Raises:
        UnreadableFileError: names the file.
    """
    for file in files:
        reader = _READERS[Path(file).suffix.lower()]
        number = 0
        try:
            for instance in reader(folder / file, signature, columns):
                yield Row(file, number, instance)
                number += 1
        except (OSError, ValueError, csv.Error) as error:
            raise UnreadableFileError(f"{file}, after {number} rows: {error}") from error


_Instances = Iterator[Callable[[], Any]]


def _read_json_lines(path: Path, signature: Signature, columns: Sequence[str]) -> _Instances:
    with path.open("rb") as lines:
        for line in lines:
            if line.strip():
                yield lambda line=line: _parse(line)  # type: ignore[misc]


def _parse(line: bytes) -> Any:
    try:
        return load(line)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "invalid_json", f"This is not JSON: {error}") from error


def _read_csv(path: Path, signature: Signature, columns: Sequence[str]) -> _Instances:
    with path.open(encoding="utf-8-sig", newline="") as text:
        records = csv.reader(text)
        header = next(records, None)
        if not header:
            raise ValueError("a header with the names of the columns is missing")
        instance = _csv_instance(header, signature, columns)
        for cells in records:
            if cells:
                yield lambda cells=cells: instance(cells)  # type: ignore[misc]


def _csv_instance(
    header: List[str], signature: Signature, columns: Sequence[str]
) -> Callable[[List[str]], Any]:
    """Return what makes an instance of a record: by the inputs' names, else all in one input."""
    names = [tensor.name for tensor in signature.inputs]
    if not columns and set(names) <= set(header) and all(map(_is_single, signature.inputs)):
        places = [(tensor, header.index(tensor.name)) for tensor in signature.inputs]

        def by_name(cells: List[str]) -> Dict[str, Any]:
            _check_cells(cells, header)
            return {
                tensor.name: _reshaped(
                    [_value(cells[place], tensor.dtype, header[place])], tensor.shape
                )
                for tensor, place in places
            }

        return by_name
    if len(names) != 1:
        raise ValueError(
            f"the model takes {', '.join(names)}: there must be a column for each of them, and"
            " each must take single values"
        )
    chosen = [_place(header, name) for name in columns] or list(range(len(header)))
    tensor = signature.inputs[0]
    sizes = None if tensor.shape is None else tensor.shape[1:]
    if sizes is not None and -1 not in sizes and math.prod(sizes) != len(chosen):
        raise ValueError(
            f"the input {tensor.name!r} takes {tensor.describe()}: {math.prod(sizes)} values a"
            f" row, and there are {len(chosen)} columns; name those that belong to it"
        )
    if sizes is not None and -1 in sizes and len(sizes) > 1:
        raise ValueError(f"columns cannot be put into {tensor.describe()}; use JSON lines")

    def all_in_one(cells: List[str]) -> Any:
        _check_cells(cells, header)
        values = [_value(cells[place], tensor.dtype, header[place]) for place in chosen]
        return _reshaped(values, tensor.shape)

    return all_in_one


def _is_single(tensor: Tensor) -> bool:
    return tensor.shape is not None and all(size in (1, -1) for size in tensor.shape[1:])


def _place(header: List[str], name: str) -> int:
    if name not in header:
        raise ValueError(f"there is no column {name!r}; there are: {', '.join(header[:20])}")
    return header.index(name)


def _check_cells(cells: List[str], header: List[str]) -> None:
    if len(cells) != len(header):
        message = f"The row has {len(cells)} cells, the header {len(header)}."
        raise Problem(400, "cells_mismatch", message)


def _reshaped(values: List[Any], shape: Any) -> Any:
    """Return the values of one row in the shape of the input, as nested lists."""
    if shape is not None and len(shape) == 1:
        return values[0]
    for size in reversed([] if shape is None else shape[2:]):
        step = len(values) if size < 0 else size
        values = [values[start : start + step] for start in range(0, len(values), step)]
    return values


def _value(cell: str, dtype: str, column: str) -> Any:
    if dtype == "string":
        return cell
    text = cell.strip()
    try:
        if dtype == "bool":
            lowered = text.lower()
            if lowered not in _TRUE | _FALSE:
                raise ValueError
            return lowered in _TRUE
        return int(text) if "int" in dtype else float(text)
    except ValueError:
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise Problem(400, "invalid_type", f"{column}: {shown!r} is not {dtype}.") from None


def _read_npy(path: Path, signature: Signature, columns: Sequence[str]) -> _Instances:
    if len(signature.inputs) != 1:
        names = ", ".join(tensor.name for tensor in signature.inputs)
        raise ValueError(f"the model takes {names}: use .npz with an array for each")
    array = np.load(str(path), mmap_mode="r", allow_pickle=False)
    if not array.ndim:
        raise ValueError("the array has no rows")
    for number in range(len(array)):
        yield lambda number=number: array[number]  # type: ignore[misc]


def _read_npz(path: Path, signature: Signature, columns: Sequence[str]) -> _Instances:
    with np.load(str(path), allow_pickle=False) as held:
        if isinstance(held, np.ndarray):
            raise ValueError("this is a single array: name it .npy")
        names = [tensor.name for tensor in signature.inputs]
        missing = [name for name in names if name not in held.files]
        if missing:
            raise ValueError(
                f"there is no array {missing[0]!r}; there are: {', '.join(held.files)}"
            )
        arrays = {name: held[name] for name in names}
    lengths = {array.shape[:1] for array in arrays.values()}
    if len(lengths) != 1 or lengths == {()}:
        raise ValueError("the arrays have not the same number of rows")
    for number in range(lengths.pop()[0]):
        yield lambda number=number: {  # type: ignore[misc]
            name: array[number] for name, array in arrays.items()
        }


def _read_picture(path: Path, signature: Signature, columns: Sequence[str]) -> _Instances:
    if len(signature.inputs) != 1 or signature.inputs[0].dtype != "string":
        raise ValueError(
            "a picture is one row of a model whose one input takes encoded pictures (string);"
            " for others make an array of the pictures (.npy)"
        )
    yield lambda: {"b64": base64.b64encode(path.read_bytes()).decode()}


_Reader = Callable[[Path, Signature, Sequence[str]], _Instances]
_READERS: Dict[str, _Reader] = {
    ".csv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".npy": _read_npy,
    ".npz": _read_npz,
    **dict.fromkeys(sorted(PICTURES), _read_picture),
}
SUFFIXES: Tuple[str, ...] = tuple(_READERS)
