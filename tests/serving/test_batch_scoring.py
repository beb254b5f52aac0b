"""Rows of files become predictions, each once, whatever the number of nodes."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.serving.batch_scoring import Scorer, Share, TooManyFailedRowsError
from workers.serving.problems import Problem
from workers.serving.rows import UnreadableFileError, list_files, read_rows
from workers.serving.signature import Signature, Tensor

PAIR = Signature(
    "serving_default", (Tensor("x", "float32", (-1, 2)),), (Tensor("y", "float32", (-1,)),)
)
NAMED = Signature(
    "serving_default",
    (Tensor("a", "float32", (-1, 1)), Tensor("s", "string", (-1,))),
    (Tensor("sum", "float32", (-1,)), Tensor("text", "string", (-1,))),
)
PICTURE = Signature(
    "serving_default", (Tensor("image", "string", (-1,)),), (Tensor("size", "int64", (-1,)),)
)


def add(arrays: dict[str, Any]) -> dict[str, Any]:
    if (arrays["x"] < 0).any():
        raise Problem(400, "model_refused", "negative")
    return {"y": arrays["x"].sum(axis=1)}


def named(arrays: dict[str, Any]) -> dict[str, Any]:
    return {"sum": arrays["a"][:, 0] * 2, "text": arrays["s"]}


def score(
    folder: Path,
    signature: Signature = PAIR,
    call: Any = add,
    *,
    columns: tuple[str, ...] = (),
    share: Share = Share(0, 1, 2, None, "jsonl"),  # noqa: B008 - a tuple
    log: Any = lambda name, value: None,
) -> Path:
    """The folder with what one node wrote."""
    outputs = folder.with_name("outputs")
    files = list_files(folder, [])
    scorer = Scorer(signature, call, share, outputs, log)
    scorer.score(read_rows(folder, files, signature, columns))
    return outputs


def lines(outputs: Path, kind: str = "predictions") -> list[Any]:
    found = sorted((outputs / kind).iterdir())
    return [json.loads(line) for file in found for line in file.read_text().splitlines()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_all_kinds_of_files_in_one_go(data: Path) -> None:
    (data / "a.csv").write_text("u,v\n1,2\n\n3,4\n")
    (data / "b.jsonl").write_text('[5, 6]\n\n{"x": [7, 8]}\n')
    np.save(data / "c.npy", np.array([[9, 10]]))
    np.savez(data / "d.npz", x=np.array([[11.0, 12.0]]), other=np.zeros(3))
    found = [(one["file"], one["row"], one["prediction"]) for one in lines(score(data))]
    assert found == [
        ("a.csv", 0, 3.0), ("a.csv", 1, 7.0), ("b.jsonl", 0, 11.0), ("b.jsonl", 1, 15.0),
        ("c.npy", 0, 19.0), ("d.npz", 0, 23.0),
    ]  # fmt: skip


def test_columns_by_the_inputs_names_and_csv_out(data: Path) -> None:
    (data / "a.csv").write_text('id,s,a\n7,"x, y",1.5\n8,z,2\n')
    outputs = score(data, NAMED, named, share=Share(0, 1, 2, 0, "csv"))
    (part,) = (outputs / "predictions").iterdir()
    assert part.name == "part-00000-of-00001.csv"
    assert list(csv.reader(io.StringIO(part.read_text()))) == [
        ["file", "row", "sum", "text"], ["a.csv", "0", "3.0", "x, y"], ["a.csv", "1", "4.0", "z"],
    ]  # fmt: skip


def test_columns_that_are_named_make_up_the_input(data: Path) -> None:
    (data / "a.csv").write_text("id,u,v\n7,1,2\n")
    with pytest.raises(UnreadableFileError, match="2 values a row, and there are 3 columns"):
        score(data)
    assert [one["prediction"] for one in lines(score(data, columns=("v", "u")))] == [3.0]
    with pytest.raises(UnreadableFileError, match="no column 'w'"):
        score(data, columns=("w", "u"))


def test_columns_take_the_shape_of_the_input(data: Path) -> None:
    signature = Signature(
        "s", (Tensor("x", "float32", (-1, 2, 2)),), (Tensor("y", "float32", (-1, 2, 2)),)
    )
    (data / "a.csv").write_text("a,b,c,d\n1,2,3,4\n")
    (found,) = lines(score(data, signature, lambda arrays: {"y": arrays["x"]}))
    assert found["prediction"] == [[1.0, 2.0], [3.0, 4.0]]


def test_a_picture_is_a_row(data: Path) -> None:
    for name in ("a.png", "b.JPG"):
        (data / name).write_bytes(name.encode())
    sizes = lines(score(data, PICTURE, lambda a: {"size": np.array([len(x) for x in a["image"]])}))
    assert [(one["file"], one["prediction"]) for one in sizes] == [("a.png", 5), ("b.JPG", 5)]
    with pytest.raises(UnreadableFileError, match=r"a\.png.*encoded pictures"):
        score(data)


def test_nodes_share_the_rows_and_a_second_attempt_doubles_none(data: Path) -> None:
    (data / "a.csv").write_text("u,v\n" + "".join(f"{n},0\n" for n in range(11)))
    for index in (0, 1, 1, 2):
        outputs = score(data, share=Share(index, 3, 2, 0, "jsonl"))
    found = lines(outputs)
    assert sorted(one["row"] for one in found) == list(range(11))
    assert {one["row"]: one["prediction"] for one in found} == {n: float(n) for n in range(11)}
    counts = [json.loads(file.read_text()) for file in sorted((outputs / "counts").iterdir())]
    assert [one["rows_scored"] for one in counts] == [4, 4, 3]


def test_rows_that_fail_are_listed_and_spoil_no_other(data: Path) -> None:
    (data / "a.csv").write_text("u,v\n1,2\n-1,0\nx,1\n1\n5,6\n")
    (data / "b.jsonl").write_text("nonsense\n[1]\n[1, 2]\n")
    logged: dict[str, float] = {}
    outputs = score(data, share=Share(0, 1, 8, None, "jsonl"), log=logged.__setitem__)
    assert [one["prediction"] for one in lines(outputs)] == [3.0, 11.0, 3.0]
    failed = {(one["file"], one["row"]): one["code"] for one in lines(outputs, "failed_rows")}
    assert failed == {
        ("a.csv", 1): "model_refused", ("a.csv", 2): "invalid_type",
        ("a.csv", 3): "cells_mismatch", ("b.jsonl", 0): "invalid_json",
        ("b.jsonl", 1): "shape_mismatch",
    }  # fmt: skip
    assert (logged["shard_0_rows_scored"], logged["shard_0_rows_failed"]) == (3, 5)


def test_rows_that_no_string_and_no_array_can_carry_fail_alone(data: Path) -> None:
    odd = ['{"a": [1], "s": "\\ud800"}', '{"a": [2], "s": "x", "\\ud800": 1}']
    deep = '{"a": [3], "s": ' + "[" * 900 + "]" * 900 + "}"
    (data / "a.jsonl").write_text("\n".join([*odd, deep, '{"a": [4], "s": "y"}']) + "\n")
    outputs = score(data, NAMED, named, share=Share(0, 1, 8, None, "jsonl"))
    assert [one["row"] for one in lines(outputs)] == [3]
    assert [(one["row"], one["code"]) for one in lines(outputs, "failed_rows")] == [
        (0, "invalid_json"), (1, "invalid_json"), (2, "shape_mismatch"),
    ]  # fmt: skip


def test_more_failed_rows_than_may_end_it(data: Path) -> None:
    (data / "a.csv").write_text("u,v\n1,2\nx,0\ny,1\n3,4\n")
    with pytest.raises(TooManyFailedRowsError, match=r"2 rows failed, 1 may.*row 2 of a\.csv"):
        score(data, share=Share(0, 1, 1, 1, "jsonl"))
    (counts,) = (data.with_name("outputs") / "counts").iterdir()
    assert json.loads(counts.read_text()) == {"rows_scored": 1, "rows_failed": 2}


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_arrays_with_code_in_them_are_not_loaded(data: Path, name: str) -> None:
    with (data / name).open("wb") as file:
        np.save(file, np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableFileError, match=name):
        score(data)
