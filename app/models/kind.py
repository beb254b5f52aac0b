"""What the files of a model are, and whether they can be served without code. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Literal

_SAVED_MODEL_FILE = "saved_model.pb"
_TF1_META = re.compile(r"\.meta$")
_INDEX = re.compile(r"\.index$")
_SHARD = re.compile(r"\.data-\d{5}-of-\d{5}$")
_HDF5_SUFFIXES = frozenset({".h5", ".hdf5"})


class Kind(StrEnum):
    """Formats of trained models that are told apart."""

    SAVED_MODEL = "saved_model"
    KERAS = "keras"
    H5 = "h5"
    TF1_CHECKPOINT = "tf1_checkpoint"
    TF2_CHECKPOINT = "tf2_checkpoint"
    ONNX = "onnx"
    UNKNOWN = "unknown"


SERVABLE = frozenset({Kind.SAVED_MODEL, Kind.KERAS, Kind.H5, Kind.ONNX})


@dataclass(frozen=True)
class Found:
    """The kind of a set of files.

    Attributes:
        kind: the format.
        root: what to load: the folder of a SavedModel (empty: the top), else the one file.
        reason: why it cannot be deployed without code, in words; empty when it can.
    """

    kind: Kind
    root: str = ""
    reason: str = ""

    @property
    def is_servable(self) -> bool:
        """Whether it can be deployed without code."""
        return not self.reason


def find_kind(paths: Iterable[str]) -> Found:
    """Tell what kind of model lies in these files.

    Args:
        paths: relative paths with forward slashes.
    """
    names = sorted(paths)
    return (
        _saved_model(names)
        or _single_file(names, frozenset({".keras"}), Kind.KERAS)
        or _single_file(names, _HDF5_SUFFIXES, Kind.H5)
        or _checkpoint(names)
        or _single_file(names, frozenset({".onnx"}), Kind.ONNX)
        or _keras_weights(names)
        or Found(Kind.UNKNOWN, reason=_unknown(names))
    )


def files_below(paths: Iterable[str], found: Found) -> dict[str, str]:
    """Paths that belong to the model that was found, by their path relative to what is loaded.

    Args:
        paths: all files of the version.
        found: what `find_kind` said of them.
    """
    if found.kind not in (Kind.SAVED_MODEL, Kind.ONNX):
        return {PurePosixPath(path).name: path for path in paths if path == found.root}
    # An ONNX model may keep large tensors in other files of its folder.
    root = _parent(found.root) if found.kind == Kind.ONNX else found.root
    prefix = f"{root}/" if root else ""
    return {path.removeprefix(prefix): path for path in paths if path.startswith(prefix)}


def _saved_model(names: list[str]) -> Found | None:
    roots = [_parent(path) for path in names if PurePosixPath(path).name == _SAVED_MODEL_FILE]
    if not roots:
        return None
    # The folder nearest to the top; among exported versions 1/, 2/, … the highest, as
    # TensorFlow Serving does.
    depth = min(_depth(root) for root in roots)
    nearest = [root for root in roots if _depth(root) == depth]
    if len(nearest) == 1:
        return Found(Kind.SAVED_MODEL, root=nearest[0])
    numbered = [root for root in nearest if PurePosixPath(root).name.isdecimal()]
    parents = {_parent(root) for root in nearest}
    if len(numbered) == len(nearest) and len(parents) == 1:
        highest = max(nearest, key=lambda root: int(PurePosixPath(root).name))
        return Found(Kind.SAVED_MODEL, root=highest)
    listed = ", ".join(nearest)
    return Found(
        Kind.SAVED_MODEL,
        root=nearest[0],
        reason=f"There is more than one SavedModel in it ({listed}): register the folder of one.",
    )


def framework_of(kind: Kind) -> Literal["tensorflow", "onnx", "custom"]:
    """The framework of models of this kind, where nobody has named it."""
    if kind == Kind.ONNX:
        return "onnx"
    return "tensorflow" if kind in SERVABLE else "custom"


def _single_file(names: list[str], suffixes: frozenset[str], kind: Kind) -> Found | None:
    matching = [path for path in names if PurePosixPath(path).suffix.lower() in suffixes]
    whole = [path for path in matching if not _is_weights(path)]
    if not whole:
        return None
    if len(whole) == 1:
        return Found(kind, root=whole[0])
    return Found(
        kind,
        root=whole[0],
        reason=f"There is more than one model file in it ({', '.join(whole)}): register one.",
    )


def _is_weights(path: str) -> bool:
    name = PurePosixPath(path).name.lower()
    return ".weights." in name or name.startswith("weights")


def _checkpoint(names: list[str]) -> Found | None:
    has_shards = any(_SHARD.search(path) for path in names)
    has_index = any(_INDEX.search(path) for path in names)
    if any(_TF1_META.search(path) for path in names) and (has_shards or has_index):
        return Found(
            Kind.TF1_CHECKPOINT,
            reason="This is a TensorFlow 1 Saver checkpoint (a .meta graph with .index and .data"
            " files): it has variables for training but no signature that says what goes in and"
            " what comes out, so no server can load it. Export a SavedModel in the script, with"
            " tf.saved_model.simple_save(session, 'outputs/model', inputs={…}, outputs={…}) or"
            " tf.saved_model.save, and register that folder.",
        )
    if has_shards and has_index:
        return Found(
            Kind.TF2_CHECKPOINT,
            reason="This is a TensorFlow 2 checkpoint (.index and .data files): it has the"
            " weights but not the model. Build the model, restore the checkpoint and export a"
            " SavedModel with model.export(path) or tf.saved_model.save(model, path).",
        )
    return None


def _keras_weights(names: list[str]) -> Found | None:
    weights = [
        path for path in names if PurePosixPath(path).suffix.lower() in _HDF5_SUFFIXES | {".keras"}
    ]
    if not weights:
        return None
    return Found(
        Kind.UNKNOWN,
        reason=f"{weights[0]!r} looks like Keras weights without a model: save the whole model"
        " with model.save('outputs/model.keras') or model.export('outputs/model').",
    )


def _unknown(names: list[str]) -> str:
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    return (
        "No model was recognised in these files: a SavedModel (a folder with saved_model.pb) or a"
        " whole Keras (.keras, .h5) or ONNX model (.onnx) can be deployed without code. The files"
        f" are: {shown}."
    )


def _parent(path: str) -> str:
    parent = str(PurePosixPath(path).parent)
    return "" if parent == "." else parent


def _depth(root: str) -> int:
    return len(PurePosixPath(root).parts)
