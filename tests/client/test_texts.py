"""Nothing that a server or a script says controls the terminal."""

import pytest

from trainwright.texts import clean, clean_line

HOSTILE = [
    "\x1b]0;title\x07",
    "\x1b]52;c;Y29weQ==\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "a\rb",
    "a\x08b",
    "x\u202egnp.exe",
    "a\u2066b",
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "a\u2028b",
    "\x7f",
    "\x1bP+q\x1b\\",
    "a\nb",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_control_character_is_left(text: str) -> None:
    for shown in (clean(text), clean_line(text)):
        assert shown.isprintable(), shown


def test_letters_of_all_languages_stay() -> None:
    for text in ("größe", "尺寸", "שלום", "مرحبا", "👩‍🔬", "[bold]x[/bold]", "✓"):
        assert clean(text) == text


def test_colours_of_a_log_are_left_out() -> None:
    assert clean_line("\x1b[1;31mred\x1b[0m\tend") == "red    end"
