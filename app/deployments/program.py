"""The serving program as a source tree that replicas get, like a run gets its snapshot."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from app.storage.objects import ObjectStore
from app.storage.writer import StoredObject

_FOLDER = Path(__file__).parents[2] / "workers" / "serving"
PACKAGE = "serving"


@dataclass(frozen=True)
class ProgramFile:
    """One file of the program.

    Attributes:
        path: in the replica's work folder.
        sha256: of its bytes.
        size_bytes: of it.
        source: where it lies in this installation.
    """

    path: str
    sha256: str
    size_bytes: int
    source: Path


@cache
def program_files() -> tuple[ProgramFile, ...]:
    """The files of the program, read once per process."""
    files = []
    for source in sorted(_FOLDER.glob("*.py")):
        data = source.read_bytes()
        files.append(
            ProgramFile(
                path=f"{PACKAGE}/{source.name}",
                sha256=hashlib.sha256(data).hexdigest(),
                size_bytes=len(data),
                source=source,
            )
        )
    return tuple(files)


async def publish_program(objects: ObjectStore) -> list[StoredObject]:
    """Have the program's files in the object store, where replicas fetch them."""
    for file in program_files():
        if not await objects.exists(file.sha256):
            await objects.put_path(file.source, expected_sha256=file.sha256)
    return [StoredObject(file.sha256, file.size_bytes) for file in program_files()]
