"""What a container is given before it starts: its folder with the runner and the credential."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from app.kernel.config import CONTAINER_FOLDER

UID = 1000
GID = 1000
FOLDER = CONTAINER_FOLDER
VOLUME = FOLDER.rpartition("/")[0]
"""Where a node's volume is mounted. The engine leaves the folder itself to root."""
PROGRAM = f"{FOLDER}/runner/main.py"


def payload(runner: Path, token: str) -> bytes:
    """A tar archive for `VOLUME`; everything belongs to the user that the container runs as.

    Args:
        runner: the folder of the runner's package.
        token: the node's credential; in a file, so that no inspection of the container shows it.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(_entry("node", is_folder=True, mode=0o700))
        archive.addfile(_entry("node/tmp", is_folder=True, mode=0o700))
        _add_file(archive, "node/token", token.encode(), mode=0o600)
        archive.addfile(_entry("node/runner", is_folder=True, mode=0o755))
        for path in _members(runner):
            name = f"node/runner/{path.relative_to(runner).as_posix()}"
            if path.is_dir():
                archive.addfile(_entry(name, is_folder=True, mode=0o755))
            else:
                _add_file(archive, name, path.read_bytes(), mode=0o644)
    return buffer.getvalue()


def _members(runner: Path) -> Iterator[Path]:
    for path in sorted(runner.rglob("*")):
        if "__pycache__" not in path.parts:
            yield path


def _add_file(archive: tarfile.TarFile, name: str, data: bytes, *, mode: int) -> None:
    entry = _entry(name, is_folder=False, mode=mode)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _entry(name: str, *, is_folder: bool, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.DIRTYPE if is_folder else tarfile.REGTYPE
    entry.mode = mode
    entry.uid, entry.gid = UID, GID
    return entry
