"""Where the unix sockets of the embedded servers lie."""

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from app.embedded.errors import EmbeddedError

# sun_path holds 107 bytes and an end mark on Linux, 103 on macOS; the longest name put under
# the folder is "postgres/.s.PGSQL.5432.lock".
_LONGEST_FOLDER_BYTES = 103 - len("/postgres/.s.PGSQL.5432.lock")
_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")


def socket_folder(data_dir: Path) -> Path:
    """Make and return the private folder for the sockets of the stack on `data_dir`.

    It is `data_dir/run` unless that is too long for a socket address or has characters that
    would need escaping in a URL; then a short folder in the user's runtime or temporary folder.

    Raises:
        EmbeddedError: somebody else has taken the place.
    """
    folder = data_dir / "run"
    if len(os.fsencode(folder)) > _LONGEST_FOLDER_BYTES or not _PLAIN.fullmatch(str(folder)):
        digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
        name = f"trainwright-{os.geteuid()}-{digest}"
        folder = Path(os.environ.get("XDG_RUNTIME_DIR") or _temporary_folder()) / name
    # Root's PostgreSQL runs as another user and has to pass through; the sockets inside are closed.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    folder.mkdir(mode=mode, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise EmbeddedError(f"{folder} belongs to somebody else: remove it, or set XDG_RUNTIME_DIR")
    folder.chmod(mode)
    return folder


def _temporary_folder() -> str:
    folder = tempfile.gettempdir()
    short = len(os.fsencode(folder)) < _LONGEST_FOLDER_BYTES // 2
    return folder if short else "/tmp"  # noqa: S108 - the folder made there is checked
