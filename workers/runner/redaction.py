"""Takes the values of secrets out of what leaves the node, also in other spellings."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

SHORTEST_BYTES = 4
"""What is shorter is in every log by chance."""
_SHORTEST_LINE_BYTES = 8
_SHORTEST_BASE64_BYTES = 8
_HEAD_BYTES = 8


class Redactor:
    """The values that may not leave the node; it learns them before any process starts."""

    def __init__(self) -> None:
        self._marks: dict[bytes, bytes] = {}

    @property
    def has_values(self) -> bool:
        """Whether there is anything to be taken out."""
        return bool(self._marks)

    def learn(self, name: str, value: bytes) -> None:
        """From now on, put a mark with the name in the place of the value."""
        for spelling in _spellings(value):
            self._marks.setdefault(spelling, b"[secret %s]" % name.encode())

    def redact(self, data: bytes) -> bytes:
        """Return the bytes without the values."""
        found = self._found(data)
        if not found:
            return data
        parts, reached = [], 0
        for start, end, mark in found:
            parts += [data[reached:start], mark]
            reached = end
        return b"".join([*parts, data[reached:]])

    def redact_text(self, text: str) -> str:
        """Return the text without the values."""
        if not self._marks:
            return text
        data = text.encode("utf-8", "surrogatepass")
        return self.redact(data).decode("utf-8", "surrogatepass")

    def redact_document(self, document: Any) -> Any:
        """Return a JSON document without the values, in texts and in names."""
        if not self._marks:
            return document
        if isinstance(document, str):
            return self.redact_text(document)
        if isinstance(document, list):
            return [self.redact_document(item) for item in document]
        if isinstance(document, dict):
            return {
                self.redact_text(key): self.redact_document(item) for key, item in document.items()
            }
        return document

    def first_open(self, data: bytes) -> int:
        """Return where the first value begins that the bytes to come may complete."""
        first = min((_open_end(data, spelling) for spelling in self._marks), default=len(data))
        if first == len(data):
            return first
        # What is whole here may be the beginning of something longer.
        return min([first, *(start for start, end, _ in self._found(data) if end > first)])

    def _found(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Return where values begin and end, with their marks; those that overlap are one."""
        places = []
        for spelling, mark in self._marks.items():
            place = data.find(spelling)
            while place >= 0:
                places.append((place, -place - len(spelling), mark))
                place = data.find(spelling, place + 1)
        found: list[tuple[int, int, bytes]] = []
        for start, minus_end, mark in sorted(places):
            if found and start < found[-1][1]:
                found[-1] = (found[-1][0], max(found[-1][1], -minus_end), found[-1][2])
            else:
                found.append((start, -minus_end, mark))
        return found


class RedactedFlow:
    """One stream of bytes without the values, also where they come in pieces.

    The end of what came is held back while it may be the beginning of a value.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take bytes, and return those that may go on."""
        if not self._redactor.has_values:
            return data
        data = self._held + data
        cut = self._redactor.first_open(data)
        self._held = data[cut:]
        return self._redactor.redact(data[:cut])

    def flush(self) -> bytes:
        """Return the rest: nothing will complete it."""
        rest, self._held = self._held, b""
        return self._redactor.redact(rest)


def _open_end(data: bytes, spelling: bytes) -> int:
    """Return where an end of the data begins that is a beginning of the spelling, not all of it."""
    head = spelling[:_HEAD_BYTES]
    first = max(0, len(data) - len(spelling) + 1)
    place = data.find(head, first)
    while place >= 0:
        if spelling.startswith(data[place:]):
            return place
        place = data.find(head, place + 1)
    for place in range(max(first, len(data) - len(head) + 1), len(data)):
        if spelling.startswith(data[place:]):
            return place
    return len(data)


def _spellings(value: bytes) -> set[bytes]:
    """Return the value as scripts, libraries and shells may print it."""
    core = value.strip()
    if len(core) < SHORTEST_BYTES:
        return set()
    found = {core, core.hex().encode(), core.hex().upper().encode(), *_in_base64(core)}
    found |= {quote(core, safe="").encode(), quote(core).encode(), quote_plus(core).encode()}
    try:
        text = core.decode()
    except UnicodeDecodeError:
        found.add(repr(core)[2:-1].encode())
        return found
    for spelled in (json.dumps(text), json.dumps(text, ensure_ascii=False), repr(text)):
        found.add(spelled[1:-1].encode())
    for line in core.splitlines():
        # Of a key in several lines, each one; but not "-----BEGIN …", which tells nothing.
        part = line.strip()
        if len(part) >= _SHORTEST_LINE_BYTES and not part.startswith(b"-----"):
            found.add(part)
    return found


def _in_base64(value: bytes) -> set[bytes]:
    """Return what is always the same when the value is somewhere in something in base64."""
    found = set()
    for before in range(3):
        bits_before = before * 8
        encoded = base64.b64encode(b"\0" * before + value)
        first = -(-bits_before // 6)
        last = (bits_before + len(value) * 8) // 6
        part = encoded[first:last]
        if len(part) >= _SHORTEST_BASE64_BYTES:
            found |= {part, part.replace(b"+", b"-").replace(b"/", b"_")}
    return found
