"""Schemas rewritten so that client generators make good code of them."""

from typing import Any

BINARY = frozenset(
    {"application/octet-stream", "application/gzip", "application/vnd.apache.parquet"}
)
"""Media types whose bytes are no text."""
DOWNLOADS = frozenset({"application/octet-stream", "application/gzip"})
"""Media types of files and archives, of which parts are given."""
_SCHEMAS = "#/components/schemas/"


def reshaped(node: Any) -> Any:
    """The same schemas, without what generators stumble over.

    A nullable ``anyOf`` of one plain type becomes ``type: [T, "null"]``; keys with a pattern become
    ``additionalProperties`` with ``propertyNames``; a stream's ``itemSchema`` and the default of a
    whole object are left out.
    """
    if isinstance(node, list):
        return [reshaped(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: reshaped(value) for key, value in node.items() if key != "itemSchema"}
    options = node.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options and len(options) == 2:
        (other,) = (option for option in options if option != {"type": "null"})
        if isinstance(other.get("type"), str):
            del node["anyOf"]
            node = {**other, **node, "type": [other["type"], "null"]}
            if "enum" in node:
                node["enum"] = [*node["enum"], None]
            if "const" in node:
                node["enum"] = [node.pop("const"), None]
    if "$ref" in node and isinstance(node.get("default"), dict):
        # Generators of Go write it down as it stands, which is no Go.
        del node["default"]
    patterns = node.get("patternProperties")
    if isinstance(patterns, dict) and len(patterns) == 1 and "properties" not in node:
        ((pattern, schema),) = node.pop("patternProperties").items()
        node = {**node, "additionalProperties": schema, "propertyNames": {"pattern": pattern}}
    return node


def open_enums(document: dict[str, Any]) -> None:
    """Let answers have values that are not known yet: a closed enum breaks older clients.

    What only answers hold has ``x-extensible-enum`` in the place of ``enum``; requests keep theirs.
    """
    schemas = document["components"]["schemas"]
    sent: set[str] = set()
    for item in document["paths"].values():
        for operation in item.values():
            _collect(operation.get("requestBody", {}), schemas, sent)
            _collect(operation.get("parameters", []), schemas, sent)
    for name, schema in schemas.items():
        if name not in sent:
            _open(schema)


def _collect(node: Any, schemas: dict[str, Any], found: set[str]) -> None:
    if isinstance(node, list):
        for item in node:
            _collect(item, schemas, found)
    elif isinstance(node, dict):
        name = str(node.get("$ref", "")).removeprefix(_SCHEMAS)
        if name in schemas and name not in found:
            found.add(name)
            _collect(schemas[name], schemas, found)
        for value in node.values():
            _collect(value, schemas, found)


def _open(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _open(item)
    elif isinstance(node, dict):
        if isinstance(node.get("enum"), list):
            node["x-extensible-enum"] = [value for value in node.pop("enum") if value is not None]
        for value in list(node.values()):
            _open(value)
