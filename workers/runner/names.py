"""Names of files on the node as names in the run."""

from __future__ import annotations

import os


def readable_name(path: str) -> str:
    """Return a path as plain text that the run's history takes.

    Bytes that are not UTF-8, control characters and backslashes become `%XX`, as in a URL; a
    name without any of them stays as it is.
    """
    try:
        text = os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        text = path
    return "".join(_escaped(character) if _is_odd(character) else character for character in text)


def _is_odd(character: str) -> bool:
    code = ord(character)
    return code < 32 or 127 <= code < 160 or character == "\\" or 0xD800 <= code < 0xE000


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))
