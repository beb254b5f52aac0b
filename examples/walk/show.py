"""How the walk puts on the screen what it sends and what it gets."""

import json
import shlex
import sys
from collections.abc import Sequence
from typing import Any

_LINE_CHARACTERS = 96
_ANSWER_LINES = 24
_LIST_ITEMS = 4
_TEXT_CHARACTERS = 160
_SHADES = " .:-=+*#%@"


def say(text: str = "") -> None:
    """Write one line and push it out at once, so that a pipe sees it too."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def heading(number: str, title: str) -> None:
    """The line that opens a step."""
    say()
    say(f"── {number}  {title} " + "─" * max(4, 70 - len(title) - len(number)))


def curl(
    method: str,
    path: str,
    *,
    body: object = None,
    headers: dict[str, str] | None = None,
    options: str = "",
    variable: str = "TOKEN",
) -> str:
    """The curl command that sends this request, for a shell with $TRAINWRIGHT and $TOKEN set."""
    verb = "" if method in ("GET", "HEAD") else f" -X {method}"
    parts = [
        f'curl -sS{options}{verb} "$TRAINWRIGHT{path}"',
        f'-H "Authorization: Bearer ${variable}"',
    ]
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in (headers or {}).items()]
    if body is not None:
        parts += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(_compact(body))}"]
    return " \\\n    ".join(parts)


def answer(status: int, text: str) -> None:
    """The status and the shortened body of what came back."""
    lines = _shown(text)
    say(f"← {status}" + (f"  {lines[0]}" if lines else ""))
    for line in lines[1:_ANSWER_LINES]:
        say(f"  {line}")
    if len(lines) > _ANSWER_LINES:
        say(f"  … {len(lines) - _ANSWER_LINES} lines more")


def picture(pixels: Sequence[Sequence[int]]) -> list[str]:
    """A grey picture (rows of 0–255) as lines of characters, two characters a pixel."""
    deepest = len(_SHADES) - 1
    return ["".join(_SHADES[value * deepest // 255] * 2 for value in row) for row in pixels]


def _compact(body: object) -> str:
    text = json.dumps(body, ensure_ascii=False)
    return text if len(text) <= _LINE_CHARACTERS else json.dumps(body, indent=2, ensure_ascii=False)


def _shown(text: str) -> list[str]:
    try:
        value = json.loads(text)
    except ValueError:
        return [line[:_TEXT_CHARACTERS] for line in text.splitlines()]
    short = json.dumps(_short(value), ensure_ascii=False)
    if len(short) <= _LINE_CHARACTERS:
        return [short]
    return json.dumps(_short(value), indent=2, ensure_ascii=False).splitlines()


def _short(value: Any) -> Any:
    """The value without what is absent, with long lists and texts cut."""
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items() if item not in (None, [], {})}
    if isinstance(value, list):
        kept = [_short(item) for item in value[:_LIST_ITEMS]]
        left = len(value) - len(kept)
        return [*kept, f"… {left} more"] if left else kept
    if isinstance(value, str) and len(value) > _TEXT_CHARACTERS:
        return value[:_TEXT_CHARACTERS] + "…"
    return value
