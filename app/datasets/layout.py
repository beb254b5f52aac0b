"""Where the files of a dataset lie below its folder."""

import posixpath
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from app.datasets.errors import DatasetPathInvalid
from app.kernel.errors import FieldError
from app.storage.errors import PathRejected
from app.storage.paths import check_path, check_tree

Layout = Literal["url", "flat"]


@dataclass(frozen=True, slots=True)
class PlacedSource:
    """A source and the path of its file in the dataset."""

    url: str
    path: str


def place(sources: list[tuple[str, str | None]], *, layout: Layout) -> list[PlacedSource]:
    """Decide the paths of all files.

    Args:
        sources: address and the path that the user wants, None for the layout's.
        layout: `url` nests as Azure's `to_path` does for web addresses, so that a script that
            searches a mount finds what it found there
            (`http%3A/%2Fhost/exdb/mnist/train-images-idx3-ubyte.gz`); `flat` takes the last
            part of the address.

    Raises:
        DatasetPathInvalid: names the file whose path is unsafe or taken.
    """
    placed = []
    for index, (url, wanted) in enumerate(sources):
        path = wanted if wanted is not None else _path_of(url, layout=layout)
        try:
            placed.append(PlacedSource(url=url, path=check_path(path)))
        except PathRejected as error:
            raise _invalid(f"/files/{index}/path", error, url=url) from None
    try:
        check_tree(source.path for source in placed)
    except PathRejected as error:
        raise _invalid("/files", error, url=None) from None
    return placed


def _path_of(url: str, *, layout: Layout) -> str:
    parts = urlsplit(url)
    if layout == "flat":
        return _decoded(posixpath.basename(parts.path))
    scheme = quote(f"{parts.scheme}:", safe="")
    host = quote(f"/{parts.netloc}", safe="")
    return "/".join([scheme, host, *(_decoded(part) for part in parts.path.split("/")[1:])])


def _decoded(part: str) -> str:
    # An encoded slash stays encoded: decoded it would be another folder.
    decoded = unquote(part)
    return part if "/" in decoded or "\ufffd" in decoded else decoded


def _invalid(pointer: str, error: PathRejected, *, url: str | None) -> DatasetPathInvalid:
    whose = "" if url is None else f" (of {url})"
    message = f"{error.message}{whose}; give each file a path of its own"
    return DatasetPathInvalid(message, errors=[FieldError(pointer, error.code, message)])
