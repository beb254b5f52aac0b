"""What was begun and not finished, remembered from one command to the next."""

import hashlib
from pathlib import Path

from platformdirs import user_cache_path


class Unfinished:
    """The server's id of an upload that was begun.

    Args:
        key: what is being sent, and where.
        folder: None: the user's own cache.
    """

    def __init__(self, key: str, *, folder: Path | None = None) -> None:
        folder = folder or user_cache_path("trainwright", appauthor=False) / "uploads"
        self._path = folder / hashlib.sha256(key.encode()).hexdigest()

    def remembered(self) -> str:
        """The id; '' when nothing was begun."""
        try:
            return self._path.read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    def remember(self, upload_id: str) -> None:
        """Write the id down."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.write_text(upload_id, encoding="utf-8")

    def forget(self) -> None:
        """It is done."""
        self._path.unlink(missing_ok=True)
