"""Paths that users choose stay below the folder that they are meant for."""

import os.path
import string
import tracemalloc
from contextlib import nullcontext

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.storage.errors import PathRejected
from app.storage.paths import check_path, check_tree, normalise_path

PIECES = st.sampled_from(
    [
        "..",
        ".",
        "",
        "a",
        "b.txt",
        "-1.index",
        "%2e%2e",
        "%252e",
        "..\\",
        "\0",
        "\x85",
        "c:",
        "ü",
        "…",
    ]
)


@given(st.lists(PIECES, max_size=8).map("/".join) | st.text(max_size=60))
def test_what_is_accepted_stays_below_its_folder(raw: str) -> None:
    try:
        path = normalise_path(raw)
    except PathRejected:
        return
    full = os.path.normpath(os.path.join("/root/folder", path))
    assert os.path.commonpath([full, "/root/folder"]) == "/root/folder"
    assert normalise_path(path) == path
    assert "\0" not in path
    assert "\\" not in path


@given(st.lists(st.text(string.ascii_letters + "-_.% ü", min_size=1), min_size=1, max_size=5))
def test_ordinary_paths_are_kept_as_they_are(parts: list[str]) -> None:
    assume(all(part not in (".", "..") for part in parts))
    assert check_path("/".join(parts)) == "/".join(parts)


@pytest.mark.parametrize(
    "raw", ["", ".", "./a", "a/", "a//b", "/a", "../a", "a/..", "a\\b", "\ud800"]
)
def test_check_path_takes_plain_paths_only(raw: str) -> None:
    with pytest.raises(PathRejected):
        check_path(raw)


@pytest.mark.parametrize(
    "raw", ["-1.index", "outputs/...", "a b/ c", "%2e%2e/x", "http%3A/%2Fhost/f"]
)
def test_odd_but_harmless_names_are_fine(raw: str) -> None:
    assert check_path(raw) == raw


@pytest.mark.parametrize(
    ("paths", "code"),
    [
        (["a", "a"], "path_duplicate"),
        (["a/b", "A/B"], "path_case_collision"),
        (["a/b/c", "a/b"], "path_conflict"),
        (["a", "a/b/c"], "path_conflict"),
        (["A", "a/b"], "path_conflict"),
    ],
)
def test_trees_that_cannot_exist_are_refused(paths: list[str], code: str) -> None:
    with pytest.raises(PathRejected) as caught:
        check_tree(paths)
    assert caught.value.code == code


def test_a_wide_and_deep_tree_is_fine() -> None:
    check_tree(f"{a}/{b}/{c}" for a in range(20) for b in range(20) for c in range(20))


@given(st.lists(st.lists(st.sampled_from("ab!"), min_size=1, max_size=4), max_size=12))
def test_a_file_that_is_a_folder_too_is_found_wherever_it_stands(parts: list[list[str]]) -> None:
    paths = list(dict.fromkeys("/".join(each) for each in parts))
    is_both = any(other.startswith(path + "/") for path in paths for other in paths)
    with pytest.raises(PathRejected) if is_both else nullcontext():
        check_tree(paths)


def test_as_many_folders_inside_each_other_as_people_have_are_fine_and_no_more() -> None:
    assert check_path("d/" * 99 + "f")
    with pytest.raises(PathRejected) as caught:
        check_path("d/" * 100 + "f")
    assert caught.value.code == "path_too_deep"


def test_deep_trees_take_no_more_memory_than_their_names() -> None:
    tracemalloc.start()
    check_tree(f"{number}/" + "folders/" * 90 + "file" for number in range(1000))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 20 * 1000 * len("folders/" * 90)
