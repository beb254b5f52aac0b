"""Patterns for files in a datastore, as in a ``.gitignore`` at its root."""

import re
from collections.abc import Iterable, Sequence

from app.storage.patterns import compiled

_WILD = re.compile(r"[*?\[]")


def prefix_of(pattern: str) -> str:
    """What all paths that match begin with, up to a folder."""
    plain = _WILD.split(pattern, maxsplit=1)[0]
    return plain if plain == pattern else plain.rpartition("/")[0] + ("/" if "/" in plain else "")


def matching(patterns: Sequence[str], paths: Iterable[str]) -> list[str]:
    """Those of the paths that match one of the patterns, each once, in order.

    Raises:
        PatternsUnusable: they cannot be matched.
    """
    spec = compiled([f"/{pattern.lstrip('/')}" for pattern in patterns])
    return sorted({path for path in paths if spec.match_file(path)})


def without_common_folder(paths: Sequence[str]) -> list[str]:
    """The paths below the deepest folder that has all of them."""
    folders = [path.split("/")[:-1] for path in paths]
    common = 0
    while folders and all(
        len(folder) > common and folder[common] == folders[0][common] for folder in folders
    ):
        common += 1
    return ["/".join(path.split("/")[common:]) for path in paths]


def is_plain(pattern: str) -> bool:
    """Whether it is a path and no pattern."""
    return _WILD.search(pattern) is None
