"""The run of a trial: a run request with the values put in; pure."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from app.kernel.errors import FieldError, Invalid
from app.runs.schemas import RunCreate
from app.sweeps.distributions import Value

_PLACE = re.compile(r"\$\{\{\s*search_space\.([A-Za-z0-9_.-]+)\s*\}\}")
_PARTS = ("command", "arguments", "script_params", "environment_variables")


def named(trial: RunCreate) -> set[str]:
    """The parameters that a request names somewhere."""
    document = trial.model_dump(mode="json", exclude_unset=True, include=set(_PARTS))
    found: set[str] = set()

    def look(text: str) -> str:
        found.update(_PLACE.findall(text))
        return text

    _walk(document, look)
    return found


def filled(trial: RunCreate, values: Mapping[str, Value], *, space: Mapping[str, Any]) -> RunCreate:
    """A run request with these values.

    A parameter that is named nowhere is passed as ``--NAME VALUE``, or as ``NAME VALUE`` when its
    name begins with a dash. What names a parameter that is absent from ``values`` gets an empty
    text, or is left out where it is the value of a script's parameter.

    Args:
        trial: the template.
        values: by parameter.
        space: all parameters that there may be.

    Raises:
        Invalid: with these values it is no run.
    """
    document = trial.model_dump(mode="json", exclude_unset=True)
    is_shell_line = isinstance(document.get("command"), str)
    document["script_params"] = {
        name: value
        for name, value in document.get("script_params", {}).items()
        if not _is_absent(value, values)
    }

    def put(text: str) -> str:
        return _PLACE.sub(lambda place: _plain(place, values), text)

    def put_quoted(text: str) -> str:
        return _put_in_line(text, values)

    for part in _PARTS:
        if part in document:
            is_quoted = part == "command" and is_shell_line
            document[part] = _walk(document[part], put_quoted if is_quoted else put)
    mentioned = named(trial)
    for name in space:
        if name in values and name not in mentioned:
            key = name if name.startswith("-") else f"--{name}"
            document["script_params"].pop(key, None)
            if values[name] == "":
                # As a parameter of the script, an empty text is a flag.
                document["arguments"] = [key, "", *document.get("arguments", [])]
            else:
                document["script_params"][key] = shown(values[name])
    return validated(document)


def validated(document: Mapping[str, Any]) -> RunCreate:
    """A document as a run request.

    Raises:
        Invalid: it is none; the fields are named.
    """
    try:
        return RunCreate.model_validate(document)
    except ValidationError as error:
        raise Invalid(
            "With the values of a trial its run is not valid.",
            errors=[
                FieldError(_pointer(one["loc"]), one["type"], one["msg"])
                for one in error.errors(include_url=False, include_input=False)
            ],
        ) from error


def _pointer(place: Sequence[int | str]) -> str:
    return "".join(f"/{str(one).replace('~', '~0').replace('/', '~1')}" for one in place)


def shown(value: Value) -> str:
    """A value as scripts get it."""
    return value if isinstance(value, str) else repr(value)


def _walk(found: Any, change: Callable[[str], str]) -> Any:
    if isinstance(found, str):
        return change(found)
    if isinstance(found, list):
        return [_walk(one, change) for one in found]
    if isinstance(found, dict):
        return {key: _walk(one, change) for key, one in found.items()}
    return found


def _plain(place: re.Match[str], values: Mapping[str, Value]) -> str:
    return shown(values[place[1]]) if place[1] in values else ""


def _put_in_line(line: str, values: Mapping[str, Value]) -> str:
    """A shell line with its values quoted, as is right where they stand."""
    pieces: list[str] = []
    at, quote = 0, ""
    for place in _PLACE.finditer(line):
        before = line[at : place.start()]
        pieces.append(before)
        quote = _quote_after(before, quote)
        plain = _plain(place, values)
        if quote == "'":
            pieces.append(plain.replace("'", """'"'"'"""))
        elif quote == '"':
            pieces.append(re.sub(r'([\\"$`])', r"\\\1", plain))
        else:
            pieces.append(shlex.quote(plain) if place[1] in values else "")
        at = place.end()
    return "".join([*pieces, line[at:]])


def _quote_after(text: str, quote: str) -> str:
    """In which quotes a shell is at the end of a text, if it was in these at its beginning."""
    is_escaped = False
    for letter in text:
        if is_escaped:
            is_escaped = False
        elif letter == "\\" and quote != "'":
            is_escaped = True
        elif letter == quote:
            quote = ""
        elif letter in "'\"" and not quote:
            quote = letter
    return quote


def _is_absent(value: Any, values: Mapping[str, Value]) -> bool:
    return isinstance(value, str) and any(name not in values for name in _PLACE.findall(value))
