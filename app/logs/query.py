"""Which lines of a log are wanted, as clients say it."""

import re
from dataclasses import dataclass
from typing import Annotated

import re2
from fastapi import Depends, Header, Query

from app.kernel.clock import Moment
from app.kernel.errors import invalid_field
from app.kernel.orm import MAX_INTEGER
from app.logs.cursors import parse_cursor
from app.logs.lines import last_state

MAX_TAIL = 100_000
_MAX_PATTERN = 500
_PATTERN_MEMORY_BYTES = 8 * 1024**2
# These see the borders of a block of lines, not of a line.
_BLOCK_ANCHORS = (r"\A", r"\z", r"\C")
# So do ^ and $ where flags are taken back, as in (?-m) and (?i-ms:…).
_FLAGS_OFF = re.compile(r"\(\?[a-zA-Z]*-")


class Pattern:
    """A regular expression in RE2's syntax: its time is linear in the text, whatever it says.

    Args:
        text: the expression, matched against each line.

    Raises:
        Invalid: it is none.
    """

    def __init__(self, text: str) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _PATTERN_MEMORY_BYTES
        try:
            self._line = re2.compile(text, options)
            self._block = re2.compile(f"(?m){text}", options)
        except re2.error as error:
            message = f"grep takes a regular expression in RE2's syntax: {_words(error)}."
            raise invalid_field("query/grep", "bad_pattern", message) from error
        self._is_blockwise = not _FLAGS_OFF.search(text) and not any(
            anchor in text for anchor in _BLOCK_ANCHORS
        )

    def may_match(self, block: bytes) -> bool:
        """Whether a line of these may match: what is quickly seen not to is not split."""
        if not self._is_blockwise or b"\r" in block:
            return True
        return self._block.search(block) is not None

    def matches(self, line: bytes) -> bool:
        """Whether a line matches somewhere, as it was written or as a terminal shows it."""
        if self._line.search(line) is not None:
            return True
        return b"\r" in line and self._line.search(last_state(line)) is not None


@dataclass(frozen=True)
class LineQuery:
    """Which lines.

    Attributes:
        node: only of the streams that this node writes.
        tail: only so many last ones; 0: only those still to come.
        since_millis: written at this moment or later, since 1970.
        until_millis: written at this moment or earlier.
        pattern: matching this.
        after: offsets to go on at, by id of the stream.
        timestamps: in plain text, the time before each line.
    """

    node: int | None = None
    tail: int | None = None
    since_millis: int | None = None
    until_millis: int | None = None
    pattern: Pattern | None = None
    after: dict[int, int] | None = None
    timestamps: bool = False

    @property
    def is_given(self) -> bool:
        """Whether lines are wanted at all, and not bytes."""
        return self != LineQuery()


async def _line_query(
    node: Annotated[
        int | None, Query(ge=0, le=MAX_INTEGER, description="Only what this node's processes print")
    ] = None,
    tail: Annotated[
        int | None, Query(ge=0, le=MAX_TAIL, description="Only so many last lines")
    ] = None,
    since: Annotated[Moment | None, Query(description="Lines written then or later")] = None,
    until: Annotated[Moment | None, Query(description="Lines written then or earlier")] = None,
    grep: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=_MAX_PATTERN,
            description="Lines that match this regular expression (RE2; (?i) ignores case)",
        ),
    ] = None,
    after: Annotated[
        str | None, Query(max_length=50_000, description="The id of the last line you have")
    ] = None,
    timestamps: Annotated[
        bool, Query(description="In plain text, the time before each line")
    ] = False,
    last_event_id: Annotated[str | None, Header(max_length=50_000)] = None,
) -> LineQuery:
    place, pointer = after, "query/after"
    if last_event_id:
        place, pointer = last_event_id, "header/Last-Event-ID"
    return LineQuery(
        node=node,
        tail=tail,
        since_millis=None if since is None else int(since.timestamp() * 1000),
        until_millis=None if until is None else int(until.timestamp() * 1000),
        pattern=None if grep is None else Pattern(grep),
        after=None if place is None else parse_cursor(place, pointer),
        timestamps=timestamps,
    )


LineQueryDep = Annotated[LineQuery, Depends(_line_query)]


def _words(error: re2.error) -> str:
    """What RE2 says, which its binding hands on as bytes."""
    (said,) = error.args or ("",)
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
