"""Folders that scripts leave behind, whatever they made of them."""

import os
import tempfile
from pathlib import Path


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it; links are removed, never followed.

    What lies deep is moved up before it is emptied, so that neither the depth nor the length of
    a path has a limit.

    Args:
        folder: where no process writes any more, or a link; "already gone" is success.

    Raises:
        OSError: something in it cannot be removed, such as a file of another user.
    """
    if folder.is_symlink():
        folder.unlink()
    if not folder.exists():
        return
    # Scripts and mounted inputs may deny even their owner the reading or changing of a folder.
    folder.chmod(0o700)
    waiting = _without_files(folder)
    while waiting:
        inner = waiting.pop()
        for deeper in _without_files(inner):
            # A name of its own, whose empty folder the move replaces.
            moved = Path(tempfile.mkdtemp(dir=folder))
            deeper.rename(moved)
            waiting.append(moved)
        inner.rmdir()
    folder.rmdir()


def _without_files(folder: Path) -> list[Path]:
    """Remove what is no folder; what is left can be read, changed and moved."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, 0o700)
                folders.append(Path(entry.path))
            else:
                os.unlink(entry.path)
    return folders
