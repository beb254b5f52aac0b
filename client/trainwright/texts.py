"""Text from servers and scripts, made harmless for a terminal.

Names and log lines are somebody else's: sequences that move the cursor, change the title, write to
the clipboard or turn the direction of writing must not reach the terminal.
"""

import unicodedata
from typing import Any

from rich.text import Text

_TURNS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}
"""Characters that change the direction of what follows."""


def clean(value: Any) -> str:
    """One line without control characters: they are shown as `\\x1b`; None is ''."""
    text = "" if value is None else str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def clean_line(text: str) -> str:
    """A line of a log: colours and cursor movements are left out, the rest is made harmless."""
    if "\x1b" in text or "\x9b" in text:
        text = Text.from_ansi(text).plain.replace("\n", " ")
    return clean(text.replace("\t", "    "))


def plain(value: Any, style: str = "") -> Text:
    """The same for rich, which then looks for no markup in it."""
    return Text(clean(value), style=style)


def _shown(character: str) -> str:
    code = ord(character)
    is_control = unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or code in _TURNS
    if not is_control:
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
