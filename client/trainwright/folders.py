"""The files of a source folder, without those that its ignore file leaves out."""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from trainwright.errors import TrainwrightError

IGNORE_FILES = (".amlignore", ".gitignore")
"""The first that is at the top of the folder rules, as in Azure Machine Learning."""
MAX_FILES = 20_000
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class SourceFile:
    """A file of a folder.

    Attributes:
        path: within the folder, with slashes.
        place: where it is on this machine.
        size_bytes: of the bytes that were hashed.
        sha256: of the content.
        executable: whether its owner may execute it.
    """

    path: str
    place: Path
    size_bytes: int
    sha256: str
    executable: bool


def source_files(
    folder: Path, *, on_bytes: Callable[[int], None] | None = None
) -> list[SourceFile]:
    """Read a folder.

    Args:
        folder: it.
        on_bytes: told how many more bytes were read.

    Raises:
        TrainwrightError: it holds what cannot be sent: links out of it, devices, too many files.
    """
    if not folder.is_dir():
        raise TrainwrightError(f"{folder} is no folder.", hint="Name the folder with the source.")
    files: list[SourceFile] = []
    for path, place in _walk(folder):
        if len(files) >= MAX_FILES:
            raise TrainwrightError(
                f"{folder} has more than {MAX_FILES} files.",
                hint="Leave some out with an .amlignore file.",
            )
        files.append(_read(path, place, on_bytes))
    if not files:
        raise TrainwrightError(f"{folder} has no files, or all of them are ignored.")
    return files


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    ignored = _ignored(folder)
    root = folder.resolve()
    for parent, folders, names in os.walk(folder, onerror=_refuse_folder):
        inside = Path(parent).relative_to(folder).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        for name in [*folders, *names]:
            if name != name.encode(errors="replace").decode():
                raise TrainwrightError(
                    f"{prefix + name!a} has a name that is not UTF-8.", hint="Rename it."
                )
        folders[:] = sorted(name for name in folders if not ignored(f"{prefix}{name}/"))
        for name in [*folders, *sorted(names)]:
            path, place = f"{prefix}{name}", Path(parent) / name
            if name in folders:
                if place.is_symlink():
                    raise _refused(path, "is a link to a folder")
                continue
            if ignored(path):
                continue
            if place.is_symlink() and not place.resolve().is_relative_to(root):
                raise _refused(path, "is a link out of the folder")
            if not stat.S_ISREG(_mode(path, place)):
                raise _refused(path, "is no file")
            yield path, place


def _mode(path: str, place: Path) -> int:
    try:
        return place.stat().st_mode
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror})") from None


def _refuse_folder(error: OSError) -> None:
    raise _refused(str(error.filename), f"cannot be read ({error.strerror})") from None


def _refused(path: str, reason: str) -> TrainwrightError:
    return TrainwrightError(
        f"{path} {reason}.", hint="Replace it, or leave it out with an .amlignore file."
    )


def _ignored(folder: Path) -> Callable[[str], bool]:
    rules = next((folder / name for name in IGNORE_FILES if (folder / name).is_file()), None)
    try:
        lines = [] if rules is None else rules.read_text(encoding="utf-8-sig").splitlines()
        spec = GitIgnoreSpec.from_lines(lines)
    except (OSError, ValueError, re.error) as error:
        raise TrainwrightError(f"{rules} cannot be read: {error}") from None

    def is_ignored(path: str) -> bool:
        return path.startswith(".git/") or spec.match_file(path)

    return is_ignored


def _read(path: str, place: Path, on_bytes: Callable[[int], None] | None) -> SourceFile:
    digest = hashlib.sha256()
    size = 0
    try:
        with place.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                if on_bytes is not None:
                    on_bytes(len(chunk))
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror})") from None
    return SourceFile(
        path=path,
        place=place,
        size_bytes=size,
        sha256=digest.hexdigest(),
        executable=bool(mode & stat.S_IXUSR),
    )
