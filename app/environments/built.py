"""What comes of building an environment."""

from dataclasses import dataclass, field
from pathlib import Path


class BuildFailed(Exception):
    """The environment cannot be built as it was asked for.

    Attributes:
        code: ``resolution_failed``, ``install_failed``, ``conda_failed``, ``horovod_failed``,
            ``build_timeout``, ``engine_refused`` or ``interpreter_missing``.
        message: for the user, with the tool's own last lines.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class BuiltImage:
    """A finished environment.

    Attributes:
        python: its interpreter.
        python_version: in full.
        lock: the pinned requirements it was installed from, with their hashes.
        packages: what is in it, name to version.
        size_bytes: of all its files, those shared with uv's cache included.
        build_seconds: how long it took.
        reference: the container image, where it is one.
        system_packages: Debian packages that were asked for, and their versions.
    """

    python: Path
    python_version: str
    lock: str
    packages: dict[str, str]
    size_bytes: int
    build_seconds: float
    reference: str | None = None
    system_packages: dict[str, str] = field(default_factory=dict)
