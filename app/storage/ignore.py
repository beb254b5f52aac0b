"""Which files of a source folder are left out of its snapshot.

As in Azure Machine Learning (resource limits page: "`.amlignore` before `.gitignore`"): the file
`.amlignore` at the root rules when it is there, else `.gitignore` at the root, with Git's own
pattern language. Git's `.git` folder is never source.
"""

from collections.abc import Callable, Collection

from app.storage.errors import ArchiveRejected
from app.storage.patterns import PatternsUnusable, compiled

IGNORE_FILES = (".amlignore", ".gitignore")
MAX_IGNORE_FILE_BYTES = 64 * 1024


def rules_path(paths: Collection[str]) -> str | None:
    """Return which of `paths` is the ignore file in force, None when there is none."""
    return next((name for name in IGNORE_FILES if name in paths), None)


def ignore_filter(rules: bytes, *, name: str) -> Callable[[str], bool]:
    """Return a function that tells whether a file path is ignored by `rules`.

    Args:
        rules: content of the ignore file, empty for none.
        name: its path, for error messages.

    Raises:
        ArchiveRejected: code `ignore_file_invalid`, the rules cannot be read.
    """
    if len(rules) > MAX_IGNORE_FILE_BYTES:
        raise ArchiveRejected(
            f"{name} is larger than {MAX_IGNORE_FILE_BYTES} bytes", code="ignore_file_invalid"
        )
    try:
        spec = compiled(rules.decode("utf-8-sig").splitlines())
    except (UnicodeDecodeError, PatternsUnusable) as error:
        raise ArchiveRejected(
            f"{name} cannot be read: {error}", code="ignore_file_invalid"
        ) from None

    def is_ignored(path: str) -> bool:
        return path.startswith(".git/") or spec.match_file(path)

    return is_ignored
