"""`${{inputs.NAME}}` in a command: what it names must be there, or no node can start it."""

import re
from collections.abc import Collection, Iterator

from app.kernel.errors import invalid_field

# As the runner finds inputs; the other two are words of imported jobs and of sweeps.
_PLACE = re.compile(r"\$\{\{\s*(?P<kind>inputs|outputs|search_space)\.(?P<name>[^}\s]+)\s*\}\}")
_ELSEWHERE = {
    "outputs": "a command writes below ./outputs itself, and names its folders",
    "search_space": "only the trial of a sweep has parameters",
}


def check_command(command: str | list[str] | None, *, inputs: Collection[str]) -> None:
    """Refuse a command that names something which its run has not.

    Args:
        command: a shell line or a list of words; None: there is none.
        inputs: names of the run's inputs.

    Raises:
        Invalid: it does; the line or the word is named.
    """
    for pointer, text in _texts(command):
        for place in _PLACE.finditer(text):
            if place["kind"] != "inputs" or place["name"] not in inputs:
                raise invalid_field(pointer, "unknown_placeholder", _message(place, inputs))


def _texts(command: str | list[str] | None) -> Iterator[tuple[str, str]]:
    if isinstance(command, str):
        yield "/command", command
    for index, word in enumerate(command if isinstance(command, list) else ()):
        yield f"/command/{index}", word


def _message(place: re.Match[str], inputs: Collection[str]) -> str:
    if place["kind"] != "inputs":
        return f"{place[0]} stands for nothing here: {_ELSEWHERE[place['kind']]}."
    has = f"it has {', '.join(sorted(inputs))}" if inputs else "it has none"
    return f"{place[0]} names no input of this run; {has}. Give the data in inputs."
