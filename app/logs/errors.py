"""Errors of logs."""

from datetime import datetime

from app.kernel.errors import Conflict, Gone, NotFound, TooLarge


class OffsetGap(Conflict):
    """Bytes were sent that do not join the ones that are here."""

    code = "offset_gap"
    title = "Bytes are missing in between"

    def __init__(self, *, length_bytes: int) -> None:
        super().__init__(
            f"The stream has {length_bytes} bytes; send from there.",
            extensions={"length_bytes": length_bytes},
        )


class StreamGrew(Conflict):
    """A stream got more bytes while it was sealed; they are kept, the sealing begins again."""

    code = "stream_grew"
    title = "The log has grown"


class StreamSealed(Conflict):
    """The stream has been sealed: it never changes again."""

    code = "stream_sealed"
    title = "The log is sealed"


class LogFull(TooLarge):
    """All streams of a log together have as many bytes as they may."""

    code = "log_full"
    title = "The log is full"

    def __init__(self, most_bytes: int) -> None:
        super().__init__(
            f"The log of a run has at most {most_bytes} bytes; what comes now is not kept."
        )


class LogStreamNotFound(NotFound):
    """There is no stream of this name."""

    code = "log_stream_not_found"

    def __init__(self, name: str, attempt: int) -> None:
        super().__init__(f"There is no log stream {name!r} in attempt {attempt}.")


class LogExpired(Gone):
    """The workspace keeps logs for a time, and that is over."""

    code = "log_expired"
    title = "The log has expired"

    def __init__(self, expired_at: datetime) -> None:
        super().__init__(
            f"The log was removed at {expired_at.isoformat(timespec='seconds')}; how long logs "
            "are kept is log_retention_days of the workspace."
        )
