"""The document as OpenAPI 3.0.3, for tools that do not read 3.1 yet."""

from typing import Any

VERSION = "3.0.3"
_FORMATS = {"integer": "int64", "number": "double"}
"""Without one, generated Go and Java take both for half as wide: sizes of files do not fit."""
_NOT_THERE = ("propertyNames", "contentMediaType", "contentEncoding", "$schema", "unevaluatedItems")


def as_3_0(document: dict[str, Any]) -> dict[str, Any]:
    """The same document, written as OpenAPI 3.0.3; it says less where 3.0 cannot say it.

    Args:
        document: an OpenAPI 3.1 document; it stays as it is.
    """
    found: dict[str, Any] = _schema(document)
    found["openapi"] = VERSION
    # 3.0 knows no identifiers of licences.
    found["info"]["license"] = {
        "name": document["info"]["license"]["name"],
        "url": "https://www.apache.org/licenses/LICENSE-2.0",
    }
    return found


def _schema(node: Any) -> Any:
    if isinstance(node, list):
        return [_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _schema(value) for key, value in node.items() if key not in _NOT_THERE}
    _write_types(node)
    _write_formats(node)
    _write_unions(node)
    _drop_default_of_union(node)
    _wrap_reference(node)
    if isinstance(node.get("const"), str | int | float | bool):
        node["enum"] = [node.pop("const")]
    for limit, place in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(node.get(limit), int | float) and not isinstance(node[limit], bool):
            node[place], node[limit] = node[limit], True
    if isinstance(node.get("examples"), list):
        node["example"] = node.pop("examples")[0]
    if isinstance(node.get("prefixItems"), list):
        node["items"] = {"anyOf": node.pop("prefixItems")}
    return node


def _write_types(node: dict[str, Any]) -> None:
    types = node.get("type")
    if not isinstance(types, list):
        return
    others = [name for name in types if name != "null"]
    if len(others) == 1:
        node["type"] = others[0]
        if "null" in types:
            node["nullable"] = True
    else:
        del node["type"]
        node["anyOf"] = [{"type": name} for name in types]


def _write_formats(node: dict[str, Any]) -> None:
    kind = node.get("type")
    if isinstance(kind, str) and kind in _FORMATS:
        node.setdefault("format", _FORMATS[kind])


def _write_unions(node: dict[str, Any]) -> None:
    for key in ("anyOf", "oneOf"):
        options = node.get(key)
        if not isinstance(options, list) or {"type": "null"} not in options:
            continue
        others = [option for option in options if option != {"type": "null"}]
        if len(others) == 1 and "$ref" not in others[0] and "type" in others[0]:
            del node[key]
            node.update(others[0], nullable=True)
        else:
            # 3.0 has no type of null alone: an enum of nothing but null says the same.
            node[key] = [*others, {"type": "object", "nullable": True, "enum": [None]}]


def _drop_default_of_union(node: dict[str, Any]) -> None:
    # Generated Go takes it for the name of a constant, and cannot be compiled.
    if "anyOf" in node or "oneOf" in node:
        node.pop("default", None)


def _wrap_reference(node: dict[str, Any]) -> None:
    # 3.0 ignores whatever stands beside a reference.
    if "$ref" in node and len(node) > 1:
        node["allOf"] = [{"$ref": node.pop("$ref")}]
