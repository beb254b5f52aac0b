"""What in a new OpenAPI document breaks clients of an older one.

A request may ask for less and take more, an answer may say more; anything else is breaking. That a
path, an operation or a property goes is allowed once the older document calls it deprecated.
Answers have open enums (``x-extensible-enum``), so new values of theirs break nobody.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

Json = dict[str, Any]
Direction = Literal["request", "response"]
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")


def breaking_changes(old: Json, new: Json) -> list[str]:
    """Say each change of ``new`` that a client of ``old`` would notice, with its place."""
    return list(_Comparison(old, new).paths())


class _Pair(NamedTuple):
    old: Any
    new: Any
    place: str


class _Comparison:
    def __init__(self, old: Json, new: Json) -> None:
        self._old = old
        self._new = new
        self._seen: set[tuple[str, str, Direction]] = set()

    def paths(self) -> Iterator[str]:
        for path, old_item in self._old["paths"].items():
            new_item = self._new["paths"].get(path, {})
            for method, old in old_item.items():
                place = f"{method.upper()} {path}"
                new = new_item.get(method)
                if new is not None:
                    yield from self._operation(_Pair(old, new, place))
                elif not old.get("deprecated", False):
                    yield f"{place}: is gone"

    def _operation(self, pair: _Pair) -> Iterator[str]:
        old, new, place = pair
        if old["operationId"] != new["operationId"]:
            yield f"{place}: operationId {old['operationId']} is now {new['operationId']}"
        yield from self._parameters(pair)
        yield from self._bodies(_Pair(old.get("requestBody"), new.get("requestBody"), place))
        for status, answer in old["responses"].items():
            if status.startswith("2"):
                yield from self._answer(
                    _Pair(answer, new["responses"].get(status), f"{place} {status}")
                )

    def _parameters(self, pair: _Pair) -> Iterator[str]:
        old = {(p["in"], p["name"]): p for p in self._all(self._old, pair.old)}
        new = {(p["in"], p["name"]): p for p in self._all(self._new, pair.new)}
        for key, parameter in old.items():
            place = f"{pair.place} {key[0]} {key[1]}"
            if key not in new:
                yield f"{place}: is gone"
                continue
            if new[key].get("required", False) and not parameter.get("required", False):
                yield f"{place}: is required now"
            yield from self._schema(
                _Pair(parameter["schema"], new[key]["schema"], place), "request"
            )
        for key in new.keys() - old.keys():
            if new[key].get("required", False):
                yield f"{pair.place} {key[0]} {key[1]}: is new and required"

    @staticmethod
    def _all(document: Json, operation: Json) -> Iterator[Json]:
        for parameter in operation.get("parameters", []):
            yield _resolve(document, parameter)

    def _bodies(self, pair: _Pair) -> Iterator[str]:
        old, new, place = pair
        if new is not None and new.get("required", False) and not (old or {}).get("required"):
            yield f"{place}: a body is required now"
        if old is None:
            return
        for media_type, content in old["content"].items():
            taken = (new or {"content": {}})["content"].get(media_type)
            if taken is None:
                yield f"{place}: {media_type} is not taken any more"
            else:
                inner = _Pair(content.get("schema", {}), taken.get("schema", {}), f"{place} body")
                yield from self._schema(inner, "request")

    def _answer(self, pair: _Pair) -> Iterator[str]:
        old, new, place = pair
        if new is None:
            yield f"{place}: is not answered any more"
            return
        for media_type, content in old.get("content", {}).items():
            given = new.get("content", {}).get(media_type)
            if given is None:
                yield f"{place}: {media_type} is not answered any more"
            else:
                inner = _Pair(content.get("schema", {}), given.get("schema", {}), place)
                yield from self._schema(inner, "response")

    def _schema(self, pair: _Pair, direction: Direction) -> Iterator[str]:
        names = (str(pair.old.get("$ref", "")), str(pair.new.get("$ref", "")), direction)
        if names[0] and names[1]:
            if names in self._seen:
                return
            self._seen.add(names)
        old, new = _resolve(self._old, pair.old), _resolve(self._new, pair.new)
        pair = _Pair(old, new, pair.place)
        # What a request may hold must not become less; what an answer may hold, not more.
        less, more = (old, new) if direction == "request" else (new, old)
        yield from _types(_Pair(less, more, pair.place), direction)
        yield from _limits(_Pair(less, more, pair.place), direction)
        yield from self._properties(pair, direction)
        yield from self._unions(pair, direction)
        for key in ("items", "additionalProperties"):
            if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
                inner = _Pair(old[key], new[key], f"{pair.place}/{key}")
                yield from self._schema(inner, direction)

    def _properties(self, pair: _Pair, direction: Direction) -> Iterator[str]:
        old, new, place = pair
        had, has = old.get("properties", {}), new.get("properties", {})
        for name, schema in had.items():
            if name in has:
                inner = _Pair(schema, has[name], f"{place}/{name}")
                yield from self._schema(inner, direction)
            elif not schema.get("deprecated", False):
                yield f"{place}/{name}: is gone"
        required, requires = set(old.get("required", [])), set(new.get("required", []))
        if direction == "request":
            for name in sorted((requires - required) & has.keys()):
                yield f"{place}/{name}: is required now"
        else:
            for name in sorted((required - requires) & has.keys()):
                yield f"{place}/{name}: may be absent now"

    def _unions(self, pair: _Pair, direction: Direction) -> Iterator[str]:
        for key in ("anyOf", "oneOf", "allOf"):
            old, new = pair.old.get(key), pair.new.get(key)
            if old is None and new is None:
                continue
            had, has = _named(old or []), _named(new or [])
            less, more = (had, has) if direction == "request" else (has, had)
            for name in sorted(less.keys() - more.keys()):
                yield f"{pair.place}: {_says(direction)} {name}"
            for name in had.keys() & has.keys():
                yield from self._schema(_Pair(had[name], has[name], pair.place), direction)


def _named(options: list[Json]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for option in options:
        name = str(
            option.get("$ref") or option.get("const") or option.get("type") or sorted(option)
        )
        while name in found:
            name += ", another"
        found[name] = option
    return found


def _resolve(document: Json, node: Json) -> Json:
    while "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def _types(pair: _Pair, direction: Direction) -> Iterator[str]:
    less, more, place = pair
    had, has = _type_names(less), _type_names(more)
    if has and not had <= has:
        yield f"{place}: {_says(direction)} {sorted(had - has)}"
    for key in ("const", "format"):
        if more.get(key) is not None and less.get(key) != more.get(key):
            yield f"{place}: {key} {more[key]!r} is no more the same"
    if "enum" in more:
        values = set(map(repr, less.get("enum", []))) - set(map(repr, more["enum"]))
        if values or "enum" not in less:
            yield f"{place}: {_says(direction)} {sorted(values) or 'other values'}"


def _type_names(schema: Json) -> set[str]:
    found = schema.get("type", [])
    names = {found} if isinstance(found, str) else set(found)
    return names | {"integer"} if "number" in names else names


def _says(direction: Direction) -> str:
    return "no longer takes" if direction == "request" else "may now be"


def _limits(pair: _Pair, direction: Direction) -> Iterator[str]:
    if direction == "response":
        return  # a client that relies on how long a text may be is not one that we break
    old, new, place = pair
    for key in _UPPER:
        if key in new and (key not in old or new[key] < old[key]):
            yield f"{place}: {key} is {new[key]} now"
    for key in _LOWER:
        if key in new and (key not in old or new[key] > old[key]):
            yield f"{place}: {key} is {new[key]} now"
    if new.get("pattern") is not None and new.get("pattern") != old.get("pattern"):
        yield f"{place}: pattern is {new['pattern']} now"
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
        yield f"{place}: unknown fields are refused now"
