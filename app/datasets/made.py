"""Files of datasets that the workspace made itself: ``workspace://PLACE``.

Their bytes are the workspace's own and have no source elsewhere that could change.
"""

from dataclasses import dataclass
from urllib.parse import quote

from app.datasets.errors import SourceRefused

SCHEME = "workspace://"


@dataclass(frozen=True)
class MadeFile:
    """A file for a version.

    Attributes:
        path: in the version.
        origin: where in the workspace it was made, as ``runs/ID/outputs/a.csv``.
        sha256: of its bytes, which the workspace has.
        size_bytes: of it.
    """

    path: str
    origin: str
    sha256: str
    size_bytes: int

    @property
    def url(self) -> str:
        """How a version names its source."""
        return f"{SCHEME}{quote(self.origin)}"


def is_made(url: str) -> bool:
    """Whether it is such a name."""
    return url.startswith(SCHEME)


def lost(url: str) -> SourceRefused:
    """What is wrong when the bytes are gone."""
    return SourceRefused("the workspace made this file itself, and its bytes are lost", url=url)
