"""Places in several streams at once, as text: the ids of lines."""

import re
from collections.abc import Mapping

from app.kernel.errors import invalid_field

_CURSOR = re.compile(r"\d{1,18}:\d{1,18}(,\d{1,18}:\d{1,18})*")


class Cursor:
    """A place that moves on with each line.

    Args:
        places: offsets by id of the stream.
    """

    def __init__(self, places: Mapping[int, int]) -> None:
        self._words: dict[int, str] = {}
        self.move(places)

    def move(self, places: Mapping[int, int]) -> None:
        """Change the offsets of some streams."""
        for stream, offset in places.items():
            self._words[stream] = f"{stream}:{offset}"

    def text(self) -> str:
        """The place as text."""
        return ",".join(self._words.values())


def parse_cursor(text: str, pointer: str) -> dict[int, int]:
    """The place behind the id of a line.

    Args:
        text: the id, as a client gives it.
        pointer: where in the request it stands.

    Raises:
        Invalid: it is none.
    """
    if not _CURSOR.fullmatch(text):
        raise invalid_field(pointer, "bad_line_id", "Give the id of a line, as it was sent.")
    pairs = (word.split(":") for word in text.split(","))
    return {int(stream): int(offset) for stream, offset in pairs}
