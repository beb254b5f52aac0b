"""Read the signatures of a SavedModel folder without executing or importing it.

`saved_model.pb` is a protocol buffer; the few fields that say what a model takes and gives are
read straight from the wire format, so this program needs the standard library alone, runs under
any Python from 3.8 on, and skips the graph (which may be gigabytes) without building it.

Run as a program it prints one JSON document: `python -I inspect_model.py FOLDER`. Exit code 0
with the signatures, 3 with `{"error": {"code", "message"}}` for a folder that cannot be read.

Field numbers: tensorflow/core/protobuf/saved_model.proto, meta_graph.proto,
tensorflow/core/framework/tensor_shape.proto, types.proto.
"""

from __future__ import annotations

import json
import mmap
import resource
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

DEFAULT_SIGNATURE = "serving_default"
EXIT_UNREADABLE = 3

_DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string",
    8: "complex64", 9: "int64", 10: "bool", 11: "qint8", 12: "quint8", 13: "qint32",
    14: "bfloat16", 15: "qint16", 16: "quint16", 17: "uint16", 18: "complex128", 19: "float16",
    20: "resource", 21: "variant", 22: "uint32", 23: "uint64",
}  # fmt: skip
_MAX_DIMENSIONS = 254
_CPU_SECONDS = 30
_MEMORY_BYTES = 4 * 1024**3
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class UnreadableModelError(Exception):
    """The folder holds no SavedModel that can be read; `code` is stable, the text is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_signatures(folder: Path) -> Dict[str, Any]:
    """Return what the SavedModel in `folder` takes and gives, by signature.

    The answer has `tensorflow_version`, `tags`, `default_signature` (`serving_default`, else the
    only one, else None) and `signatures`: name to `inputs` and `outputs`, each a list of
    `{"name", "dtype", "shape"}` sorted by name. In a shape -1 is any size; None is any rank.

    Raises:
        UnreadableModelError: there is no `saved_model.pb`, it is damaged, or nothing in it can
            be served.
    """
    path = folder / "saved_model.pb"
    if not path.is_file():
        raise UnreadableModelError(
            "saved_model_missing", f"There is no saved_model.pb in {folder.name!r}."
        )
    if path.stat().st_size == 0:
        raise UnreadableModelError("saved_model_damaged", "saved_model.pb is empty.")
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return _choose_graph(list(_meta_graphs(data)))
    except (IndexError, UnicodeDecodeError) as error:
        raise UnreadableModelError(
            "saved_model_damaged", "saved_model.pb is cut short or is not a SavedModel."
        ) from error


def _choose_graph(graphs: List[Dict[str, Any]]) -> Dict[str, Any]:
    if not graphs:
        raise UnreadableModelError("saved_model_damaged", "saved_model.pb holds no graph.")
    serving = [graph for graph in graphs if "serve" in graph["tags"]]
    chosen = (serving or graphs)[0]
    names = sorted(chosen["signatures"])
    if not names:
        raise UnreadableModelError(
            "no_signature",
            "The SavedModel has no signature. Save it with"
            " tf.saved_model.save(model, path, signatures=…) or model.export(path).",
        )
    only = names[0] if len(names) == 1 else None
    chosen["default_signature"] = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in names else only
    return chosen


def _meta_graphs(data: memoryview) -> Iterator[Dict[str, Any]]:
    for number, value in _fields(data):
        if number == 2 and isinstance(value, memoryview):
            yield _meta_graph(value)


def _meta_graph(data: memoryview) -> Dict[str, Any]:
    graph: Dict[str, Any] = {"tensorflow_version": None, "tags": [], "signatures": {}}
    for number, value in _fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            for inner, text in _fields(value):
                if inner == 4 and isinstance(text, memoryview):
                    graph["tags"].append(_text(text))
                elif inner == 5 and isinstance(text, memoryview):
                    graph["tensorflow_version"] = _text(text) or None
        elif number == 5:
            name, body = _map_entry(value)
            # Such as __saved_model_init_op: for the loader, not for callers.
            if not name.startswith("__"):
                graph["signatures"][name] = _signature(body)
    return graph


def _signature(data: memoryview) -> Dict[str, Any]:
    inputs: Dict[str, Any] = {}
    outputs: Dict[str, Any] = {}
    method_name = ""
    for number, value in _fields(data):
        if not isinstance(value, memoryview):
            continue
        if number in (1, 2):
            name, body = _map_entry(value)
            (inputs if number == 1 else outputs)[name] = _tensor(name, body)
        elif number == 3:
            method_name = _text(value)
    return {
        "method_name": method_name,
        "inputs": [inputs[name] for name in sorted(inputs)],
        "outputs": [outputs[name] for name in sorted(outputs)],
    }


def _tensor(name: str, data: memoryview) -> Dict[str, Any]:
    dtype = "unknown"
    shape: Optional[List[int]] = []
    for number, value in _fields(data):
        if number == 2 and isinstance(value, int):
            dtype = _DTYPES.get(value, "unknown")
        elif number == 3 and isinstance(value, memoryview):
            shape = _shape(value)
    return {"name": name, "dtype": dtype, "shape": shape}


def _shape(data: memoryview) -> Optional[List[int]]:
    shape: List[int] = []
    for number, value in _fields(data):
        if number == 3 and value:
            return None
        if number == 2 and isinstance(value, memoryview):
            sizes = [size for inner, size in _fields(value) if inner == 1 and isinstance(size, int)]
            shape.append(_signed(sizes[-1]) if sizes else 0)
        if len(shape) > _MAX_DIMENSIONS:
            raise UnreadableModelError("saved_model_damaged", "A tensor has too many dimensions.")
    return shape


def _map_entry(data: memoryview) -> Tuple[str, memoryview]:
    key, body = "", memoryview(b"")
    for number, value in _fields(data):
        if isinstance(value, memoryview):
            if number == 1:
                key = _text(value)
            elif number == 2:
                body = value
    return key, body


def _fields(data: memoryview) -> Iterator[Tuple[int, Any]]:
    """Yield (field number, value): an int, or the bytes of a nested message or string."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif wire == _LENGTH:
            length, at = _varint(data, at)
            if at + length > end:
                raise IndexError("field longer than its message")
            yield number, data[at : at + length]
            at += length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise IndexError("unknown wire type")


def _varint(data: memoryview, at: int) -> Tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError("number too long")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8")


def main(arguments: List[str]) -> int:
    """Print the signatures of the folder named by the only argument; return the exit code."""
    _limit_itself()
    try:
        document = read_signatures(Path(arguments[0]))
    except UnreadableModelError as error:
        document = {"error": {"code": error.code, "message": str(error)}}
    sys.stdout.write(json.dumps(document, sort_keys=True) + "\n")
    return EXIT_UNREADABLE if "error" in document else 0


def _limit_itself() -> None:
    """Bound what a hostile file can cost; graphs are mapped, so 4 GiB are plenty."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
