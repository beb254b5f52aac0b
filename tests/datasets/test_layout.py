"""Files of a dataset lie where Azure's scripts look for them, and never outside."""

import os.path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.datasets.errors import DatasetPathInvalid, SourceUrlInvalid
from app.datasets.guard import check_url
from app.datasets.layout import Layout, place


def paths(urls: list[str], layout: Layout = "url") -> list[str]:
    return [source.path for source in place([(url, None) for url in urls], layout=layout)]


def test_web_addresses_nest_as_azure_nests_them() -> None:
    urls = [
        "http://yann.example/exdb/mnist/train-images-idx3-ubyte.gz",
        "https://host:8443/a%20b/c%2Fd.gz?version=1",
    ]
    assert paths(urls) == [
        "http%3A/%2Fyann.example/exdb/mnist/train-images-idx3-ubyte.gz",
        "https%3A/%2Fhost%3A8443/a b/c%2Fd.gz",
    ]


def test_flat_takes_the_last_part() -> None:
    assert paths(["http://h/a/b.gz", "http://h/c/d.gz?x=y"], "flat") == ["b.gz", "d.gz"]


def test_own_paths_come_before_the_layout() -> None:
    placed = place([("http://h/a/b.gz", "train/images.gz"), ("http://h/c", None)], layout="flat")
    assert [source.path for source in placed] == ["train/images.gz", "c"]


@pytest.mark.parametrize(
    ("sources", "layout", "code"),
    [
        ([("http://h/a/x", None), ("http://h/b/x", None)], "flat", "path_duplicate"),
        ([("http://h/x?a=1", None), ("http://h/x?a=2", None)], "url", "path_duplicate"),
        ([("http://h/x", None), ("http://h/X", None)], "url", "path_case_collision"),
        ([("http://h/x", None), ("http://h/x/y", None)], "url", "path_conflict"),
        ([("http://h/../../etc", None)], "url", "path_traversal"),
        ([("http://h/%2e%2e/x", None)], "url", "path_traversal"),
        ([("http://h/..%5cx", None)], "flat", "path_invalid"),
        ([("http://h/a%00b", None)], "flat", "path_invalid"),
        ([("http://h/", None)], "flat", "path_invalid"),
        ([("http://h", None)], "flat", "path_invalid"),
        ([("http://h/dir/", None)], "url", "path_invalid"),
        ([("http://h/x", "../x")], "url", "path_traversal"),
        ([("http://h/x", "/x")], "url", "path_absolute"),
        ([("http://h/x", "")], "url", "path_invalid"),
    ],
)
def test_paths_that_cannot_be_are_refused(
    sources: list[tuple[str, str | None]], layout: Layout, code: str
) -> None:
    with pytest.raises(DatasetPathInvalid) as caught:
        place(sources, layout=layout)
    assert caught.value.errors[0].code == code


@given(st.text(max_size=80), st.sampled_from(["url", "flat"]))
def test_no_address_leads_out_of_the_folder(tail: str, layout: Layout) -> None:
    try:
        (path,) = paths([check_url(f"http://host/{tail}")], layout)
    except (DatasetPathInvalid, SourceUrlInvalid):
        return
    full = os.path.normpath(os.path.join("/data", path))
    assert os.path.commonpath([full, "/data"]) == "/data"
    assert full != "/data"
