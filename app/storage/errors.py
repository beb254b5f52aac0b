"""Why bytes or paths were refused, for the domains to turn into answers."""


class StorageError(Exception):
    """Bytes that cannot be stored or read as asked.

    `code` is stable and part of the API, `message` is for people and names the file at fault.
    """

    code = "storage_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ObjectMissing(StorageError):
    """No object has that digest."""

    code = "object_missing"


class ObjectCorrupt(StorageError):
    """An object's bytes no longer have the digest that it is filed under."""

    code = "object_corrupt"


class StoreUnavailable(StorageError):
    """The bucket does not answer, or refuses."""

    code = "store_unavailable"


class DigestMismatch(StorageError):
    """The bytes that arrived have another digest than the one announced."""

    code = "digest_mismatch"

    def __init__(self, *, expected_sha256: str, found_sha256: str) -> None:
        super().__init__(f"expected SHA-256 {expected_sha256}, the bytes have {found_sha256}")
        self.expected_sha256 = expected_sha256
        self.found_sha256 = found_sha256


class ObjectTooLarge(StorageError):
    """More bytes arrived than the limit allows."""

    code = "object_too_large"

    def __init__(self, *, max_bytes: int) -> None:
        super().__init__(f"more than the {max_bytes} bytes allowed")
        self.max_bytes = max_bytes


class PathRejected(StorageError):
    """A file path that must not be written below a folder."""

    def __init__(self, path: str, *, code: str, reason: str) -> None:
        super().__init__(f"{path!r}: {reason}")
        self.path = path
        self.code = code
        self.reason = reason


class ArchiveRejected(StorageError):
    """An archive that is malformed, unsafe or over a limit; nothing of it was kept."""

    def __init__(self, message: str, *, code: str, too_large: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.too_large = too_large
