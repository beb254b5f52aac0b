"""`${{inputs.NAME}}` and `${{outputs.NAME}}` in the command of a job."""

import re
from dataclasses import dataclass
from typing import Any

from app.imports.translation import Translation

MAX_COMMAND_LENGTH = 32_768
_PLACE = re.compile(r"\$\{\{\s*(?P<kind>[A-Za-z_]+)\.(?P<name>[A-Za-z0-9_.-]+)\s*\}\}")


@dataclass(frozen=True)
class Places:
    """What placeholders of a command stand for."""

    literals: dict[str, str]
    folders: dict[str, Any]
    outputs: dict[str, str]


def is_too_long(command: str, places: Places) -> bool:
    """Whether a command would be too long with its literals, said before it is made."""
    added = (len(places.literals.get(match["name"], "")) for match in _PLACE.finditer(command))
    return len(command) + sum(added) > MAX_COMMAND_LENGTH


def filled(command: str, where: str, places: Places, into: Translation) -> str:
    """A command with literals in their places, and data and outputs as runs here name them."""

    def value(match: re.Match[str]) -> str:
        kind, name = match["kind"], match["name"]
        if kind == "inputs" and name in places.literals:
            return places.literals[name]
        if kind == "inputs" and name in places.folders:
            return f"${{{{inputs.{name}}}}}"
        if kind == "outputs" and name in places.outputs:
            return places.outputs[name]
        message = f"{match[0]} names nothing that this job has."
        into.refuse(where, "unknown_placeholder", message)
        return match[0]

    return _PLACE.sub(value, command)
