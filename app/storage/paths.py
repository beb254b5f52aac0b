"""Relative file paths that users choose: in archives, manifests, datasets and outputs."""

import unicodedata
from collections.abc import Iterable
from itertools import pairwise

from app.storage.errors import PathRejected

MAX_PATH_BYTES = 2500
"""A path is part of keys, of which the database takes some 2,700 bytes."""
MAX_COMPONENT_BYTES = 255
MAX_COMPONENTS = 100


def normalise_path(raw: str) -> str:
    """Return `raw` as archives write it (`./a//b/`) in its plain form (`a/b`).

    Leading `./`, doubled and trailing slashes are dropped; anything else that is not a plain
    relative path is refused. The archive's own root (`.`) becomes the empty string.

    Raises:
        PathRejected: with code `path_absolute`, `path_traversal`, `path_invalid`,
            `path_too_long` or `path_too_deep`.
    """
    _check_characters(raw)
    if raw.startswith("/"):
        raise PathRejected(raw, code="path_absolute", reason="absolute paths are not allowed")
    components = [part for part in raw.split("/") if part not in ("", ".")]
    return _join(raw, components)


def check_path(raw: str) -> str:
    """Return `raw` when it is already a plain relative path such as `data/train.csv`.

    Raises:
        PathRejected: as `normalise_path`, and `path_invalid` when it is not in plain form.
    """
    path = normalise_path(raw)
    if not path or path != raw:
        raise PathRejected(
            raw, code="path_invalid", reason="not a plain relative path such as 'folder/file.txt'"
        )
    return path


def check_tree(paths: Iterable[str]) -> None:
    """Refuse a set of file paths that cannot lie in one folder on every file system.

    Raises:
        PathRejected: with code `path_duplicate` (the same path twice), `path_case_collision`
            (paths that differ only in case or Unicode form), or `path_conflict` (a path that is
            a file and also the folder of another).
    """
    files: dict[str, str] = {}
    for path in paths:
        key = _fold(path)
        other = files.get(key)
        if other == path:
            raise PathRejected(path, code="path_duplicate", reason="this path appears twice")
        if other is not None:
            raise PathRejected(
                path,
                code="path_case_collision",
                reason=f"differs from {other!r} only in case or Unicode form",
            )
        files[key] = path
    # In this order a folder is followed by what is in it: no character of a path is less than NUL.
    in_order = sorted(files, key=lambda key: key.replace("/", "\0"))
    for key, following in pairwise(in_order):
        if following.startswith(key + "/"):
            raise PathRejected(
                files[key],
                code="path_conflict",
                reason=f"is a file, and {files[following]!r} needs a folder of that name",
            )


def _check_characters(raw: str) -> None:
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in raw):
        raise PathRejected(
            raw, code="path_invalid", reason="control characters or bytes that are not UTF-8"
        )
    if "\\" in raw:
        raise PathRejected(raw, code="path_invalid", reason="backslashes are not allowed")


def _join(raw: str, components: list[str]) -> str:
    if ".." in components:
        raise PathRejected(raw, code="path_traversal", reason="'..' is not allowed")
    if components and len(components[0]) >= 2 and components[0][1] == ":":
        raise PathRejected(raw, code="path_absolute", reason="drive letters are not allowed")
    path = "/".join(components)
    longest = max((len(part.encode()) for part in components), default=0)
    if len(path.encode()) > MAX_PATH_BYTES or longest > MAX_COMPONENT_BYTES:
        raise PathRejected(
            raw[:80],
            code="path_too_long",
            reason=f"longer than {MAX_PATH_BYTES} bytes, or a part over {MAX_COMPONENT_BYTES}",
        )
    if len(components) > MAX_COMPONENTS:
        reason = f"more than {MAX_COMPONENTS - 1} folders inside each other"
        raise PathRejected(raw[:80], code="path_too_deep", reason=reason)
    return path


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
