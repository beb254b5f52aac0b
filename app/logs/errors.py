"""Errors of logs."""

from app.kernel.errors import Conflict


class OffsetGap(Conflict):
    """Bytes were sent that do not join the ones that are here."""

    code = "offset_gap"
    title = "Bytes are missing in between"

    def __init__(self, *, length_bytes: int) -> None:
        super().__init__(
            f"The stream has {length_bytes} bytes; send from there.",
            extensions={"length_bytes": length_bytes},
        )


class StreamSealed(Conflict):
    """The stream has been sealed: it never changes again."""

    code = "stream_sealed"
    title = "The log is sealed"
