"""The list of files that a snapshot is, and what follows from it."""

import base64
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from app.storage.entries import ArchiveLimits
from app.storage.errors import ArchiveRejected
from app.storage.paths import check_path, check_tree


@dataclass(frozen=True, slots=True, order=True)
class ManifestFile:
    """One file of a snapshot."""

    path: str
    sha256: str
    size_bytes: int
    executable: bool


class Manifest:
    """The files of a snapshot in canonical order.

    Raises:
        PathRejected: a path is unsafe or collides with another.
        ArchiveRejected: codes `snapshot_empty`, `snapshot_too_many_files`,
            `snapshot_too_many_bytes`.
    """

    def __init__(self, files: list[ManifestFile], *, limits: ArchiveLimits) -> None:
        check_tree(check_path(file.path) for file in files)
        self.files = sorted(files)
        self.size_bytes = sum(file.size_bytes for file in files)
        if not files:
            raise ArchiveRejected("no files, or all of them ignored", code="snapshot_empty")
        if len(files) > limits.max_files:
            raise ArchiveRejected(
                f"{len(files)} files, at most {limits.max_files} are allowed; leave some out with"
                " an .amlignore file",
                code="snapshot_too_many_files",
                too_large=True,
            )
        if self.size_bytes > limits.max_total_bytes:
            raise ArchiveRejected(
                f"{self.size_bytes} bytes of files, at most {limits.max_total_bytes} are allowed;"
                " leave some out with an .amlignore file",
                code="snapshot_too_many_bytes",
                too_large=True,
            )

    @property
    def sha256(self) -> str:
        """Hash over paths, digests and executable bits."""
        lines = [[file.path, file.sha256, file.executable] for file in self.files]
        text = json.dumps(lines, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def snapshot_id(self, workspace_id: str) -> str:
        """The id that these files have in a workspace: the same files, the same id."""
        digest = hashlib.sha256(f"{workspace_id}:{self.sha256}".encode()).digest()
        return f"snap_{base64.b32hexencode(digest).decode().lower()[:26]}"

    def as_json(self) -> list[dict[str, Any]]:
        """The files as they are stored."""
        return [asdict(file) for file in self.files]
