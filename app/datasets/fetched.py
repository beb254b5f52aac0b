"""What is known of a file at a web address."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server said about a file, as it said it (RFC 9110, section 8.8)."""

    etag: str = ""
    last_modified: str = ""
    size_bytes: int | None = None

    @property
    def strong_etag(self) -> str:
        """The ETag when it promises the same bytes, else empty."""
        return self.etag if self.etag.startswith('"') else ""

    @property
    def resume_tag(self) -> str:
        """What an `If-Range` may carry; empty when a transfer cannot be resumed safely."""
        return self.strong_etag or ("" if self.etag else self.last_modified)

    def is_same_file(self, other: "Validators") -> bool:
        """Whether both surely describe the same bytes."""
        if self.size_bytes is None or self.size_bytes != other.size_bytes:
            return False
        if self.strong_etag or other.strong_etag:
            return self.strong_etag == other.strong_etag
        if self.etag != other.etag:
            return False
        return bool(self.last_modified) and self.last_modified == other.last_modified


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A whole file that came."""

    url: str
    size_bytes: int
    sha256: str
    etag: str
    last_modified: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The server says that the file is still the known one."""

    url: str
