"""What can be wrong with uploaded source."""

from app.kernel.errors import Conflict, FieldError, Invalid, NotFound, TooLarge


class SnapshotNotFound(NotFound):
    """The workspace has no such snapshot."""

    code = "snapshot_not_found"


class SnapshotInvalid(Invalid):
    """The archive or manifest cannot be a snapshot; the code says why."""

    code = "snapshot_invalid"
    title = "The source cannot be used"

    def __init__(self, detail: str, *, code: str, pointer: str | None = None) -> None:
        fields = [] if pointer is None else [FieldError(pointer, code, detail)]
        super().__init__(detail, errors=fields)
        self.code = code  # type: ignore[misc]  # one class for the many reasons of one kind


class SnapshotTooLarge(TooLarge):
    """Over a limit for source; the code says which."""

    code = "snapshot_too_large"
    title = "The source is too large"

    def __init__(self, detail: str, *, code: str) -> None:
        super().__init__(detail)
        self.code = code  # type: ignore[misc]  # one class for the many reasons of one kind


class SnapshotInUse(Conflict):
    """Runs were made of it."""

    code = "snapshot_in_use"
