"""Numbers in bodies."""

from pydantic_core import PydanticKnownError


def number_only(value: object) -> object:
    """Refuse text and truth values where a number is to stand; for validators of mode ``before``.

    Not pydantic's strict mode: to JSON Schema, and so to our document, 2.0 is an integer, too.
    """
    if isinstance(value, bool | str):
        raise PydanticKnownError("int_type")
    return value
