"""What a set of files is, and why some cannot be served without code."""

import pytest

from app.models.kind import Kind, files_below, find_kind

SAVED = ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]


def below(folder: str) -> list[str]:
    return [f"{folder}/{path}" for path in SAVED]


@pytest.mark.parametrize(
    ("paths", "kind", "root"),
    [
        (SAVED, Kind.SAVED_MODEL, ""),
        (below("model"), Kind.SAVED_MODEL, "model"),
        (below("export/1") + below("export/2") + below("export/10"), Kind.SAVED_MODEL, "export/10"),
        (SAVED + below("old"), Kind.SAVED_MODEL, ""),
        ([*SAVED, "weights.h5", "checkpoint"], Kind.SAVED_MODEL, ""),
        (["deep/model.keras", "notes.txt"], Kind.KERAS, "deep/model.keras"),
        (["model.keras", "model.weights.h5"], Kind.KERAS, "model.keras"),
        (["Model.H5"], Kind.H5, "Model.H5"),
        (["model.hdf5"], Kind.H5, "model.hdf5"),
        (["out/model.onnx", "out/model.onnx.data"], Kind.ONNX, "out/model.onnx"),
    ],
)
def test_what_can_be_served(paths: list[str], kind: Kind, root: str) -> None:
    found = find_kind(paths)

    assert (found.kind, found.root, found.is_servable) == (kind, root, True)


@pytest.mark.parametrize(
    ("paths", "kind", "word"),
    [
        (
            ["checkpoint", "m.ckpt.meta", "m.ckpt.index", "m.ckpt.data-00000-of-00001"],
            Kind.TF1_CHECKPOINT,
            "Saver checkpoint",
        ),
        (["mnist-tf.model.meta", "mnist-tf.model.index"], Kind.TF1_CHECKPOINT, "simple_save"),
        (["checkpoint", "-1.index", "-1.data-00000-of-00001"], Kind.TF2_CHECKPOINT, "export"),
        (["a.onnx", "b.onnx"], Kind.ONNX, "more than one"),
        (["model.weights.h5"], Kind.UNKNOWN, "weights"),
        (["a.keras", "b.keras"], Kind.KERAS, "more than one"),
        (below("a") + below("b"), Kind.SAVED_MODEL, "more than one"),
        (["model.pkl"], Kind.UNKNOWN, "model.pkl"),
    ],
)
def test_what_cannot_be_served_is_said_in_words(paths: list[str], kind: Kind, word: str) -> None:
    found = find_kind(paths)

    assert found.kind == kind
    assert not found.is_servable
    assert word in found.reason


def test_many_files_are_not_all_listed() -> None:
    found = find_kind([f"file-{number:03}.bin" for number in range(500)])

    assert "…" in found.reason
    assert len(found.reason) < 500


def test_a_saved_model_is_loaded_from_its_own_folder() -> None:
    paths = [*below("export/1"), "export/readme.txt"]

    chosen = files_below(paths, find_kind(paths))

    assert chosen == {path: f"export/1/{path}" for path in SAVED}


def test_a_keras_file_is_loaded_alone() -> None:
    paths = ["out/model.keras", "out/log.txt"]

    assert files_below(paths, find_kind(paths)) == {"model.keras": "out/model.keras"}


def test_an_onnx_file_is_loaded_with_what_lies_beside_it() -> None:
    paths = ["out/model.onnx", "out/model.onnx.data", "log.txt"]

    assert files_below(paths, find_kind(paths)) == {
        "model.onnx": "out/model.onnx", "model.onnx.data": "out/model.onnx.data"
    }  # fmt: skip
