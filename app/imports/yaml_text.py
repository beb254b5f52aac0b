"""Reading YAML from outside: plain data only, and never more work than its length."""

from typing import Any

import yaml

from app.imports.translation import JOB
from app.kernel.errors import Invalid, invalid_field

MAX_YAML_BYTES = 128 * 1024
MAX_DEPTH = 20
MAX_PARTS = 5_000
"""Names, values, beginnings and ends; a long job has some hundreds."""
_CODE = "yaml_invalid"


class _UniqueKeys(yaml.CSafeLoader):
    """Plain data, and a name twice in one mapping is an error, not the last one's victory."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(
                None, None, "a name stands twice in one mapping", node.start_mark
            )
        return mapping


def read_yaml(text: str) -> dict[str, Any]:
    """The mapping that a YAML text says.

    Args:
        text: one document; anchors, aliases and tags of programming languages are refused, since
            a few lines of aliases can stand for gigabytes.

    Raises:
        Invalid: it is not such a text, is too long, or too deep.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_YAML_BYTES:
        raise _refusal(f"The text is longer than {MAX_YAML_BYTES} bytes.")
    try:
        _check_events(text)
        document = yaml.load(text, _UniqueKeys)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        raise _refusal(f"This is no YAML{where}: {error.problem}.") from None
    except (yaml.YAMLError, ValueError, TypeError):
        # Characters that YAML forbids, dates that are none, mappings as names.
        raise _refusal("This is no YAML that can be read as plain data.") from None
    if not isinstance(document, dict) or not all(isinstance(name, str) for name in document):
        raise _refusal("The document must be a mapping of names.")
    return document


def _check_events(text: str) -> None:
    depth = 0
    for number, event in enumerate(yaml.parse(text, yaml.CSafeLoader)):
        if number > MAX_PARTS:
            raise _refusal(f"The document has more than {MAX_PARTS} parts.")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _refusal("Anchors and aliases are not read; write the value out.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _refusal(f"The document is nested deeper than {MAX_DEPTH}.")


def _refusal(message: str) -> Invalid:
    return invalid_field(JOB, _CODE, message)
