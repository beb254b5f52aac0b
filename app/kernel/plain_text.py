"""Text that cannot be kept is refused before anything is done with it.

PostgreSQL keeps no NUL, and half a surrogate pair has no UTF-8 form, though JSON can spell both.
"""

import re
from collections.abc import Iterator
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute

from app.kernel.errors import invalid_field
from app.kernel.media import is_json

_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")
_DEEPEST = 100
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PAIR = re.compile(rb"\[\]|\{\}")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SHOWN_PARTS = 4
_MESSAGE = "A text may hold neither the NUL character nor half a surrogate pair."


def mended(text: str) -> str:
    """The text with a sign in the place of what cannot be kept."""
    return _UNKEEPABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def refuse_unkeepable_address(request: Request) -> None:
    """Refuse such text in path and query, naming the place.

    Raises:
        Invalid: there is such text.
    """
    for name, value in request.path_params.items():
        _check(f"path/{name}", str(value))
    for name, text in request.query_params.multi_items():
        _check(f"query/{_spoken(name)}", name + text)


async def refuse_unkeepable_bodies(request: Request) -> None:
    """Refuse such text, and nesting that no document here needs, in a JSON body.

    Raises:
        Invalid: there is something of the kind.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or route.body_field is None or not is_json(request):
        return
    body = await request.body()
    if not may_be_unkeepable(body):
        return
    for pointer, depth, text in _texts(await request.json()):
        if depth > _DEEPEST:
            message = f"The document is nested over {_DEEPEST} levels deep."
            top = "/".join(pointer.split("/")[:_SHOWN_PARTS])
            raise invalid_field(top, "nested_too_deep", message)
        _check(pointer, text)


def holds_unkeepable(document: Any) -> bool:
    """Whether a text or a key anywhere in a document cannot be kept."""
    return any(_UNKEEPABLE.search(text) for _, _, text in _texts(document))


def may_be_unkeepable(body: bytes) -> bool:
    """Whether `refuse_unkeepable_bodies` would have to look at a JSON text more closely."""
    # Raw control characters are no JSON, so only escapes can spell them.
    return b"\\u" in body or _may_be_deep(body)


def _may_be_deep(body: bytes) -> bool:
    """Whether a JSON text may be nested over the limit, found out without reading it in Python."""
    if body.count(b"[") + body.count(b"{") <= _DEEPEST:
        return False
    outside = _TEXT.sub(b"", body) if b"\\" in body else b"".join(body.split(b'"')[::2])
    brackets = outside.translate(None, _NO_BRACKETS)
    for _ in range(_DEEPEST):
        # Each pass takes the innermost level away.
        brackets = _PAIR.sub(b"", brackets)
        if not brackets:
            return False
    return True


def _check(pointer: str, text: str) -> None:
    if _UNKEEPABLE.search(text):
        raise invalid_field(pointer, "text_invalid", f"{pointer}: {_MESSAGE}")


def _texts(document: Any) -> Iterator[tuple[str, int, str]]:
    """Every text and key of a document with pointer and depth; containers count as empty texts."""
    waiting: list[tuple[str, int, Any]] = [("", 0, document)]
    while waiting:
        pointer, depth, value = waiting.pop()
        yield pointer or "/", depth, value if isinstance(value, str) else ""
        if isinstance(value, list):
            inside = ((str(index), item) for index, item in enumerate(value))
        elif isinstance(value, dict):
            yield from ((f"{pointer}/{_spoken(key)}", depth, key) for key in value)
            inside = ((_spoken(key), item) for key, item in value.items())
        else:
            continue
        waiting.extend((f"{pointer}/{name}", depth + 1, item) for name, item in inside)


def _spoken(name: str) -> str:
    return mended(name).replace("~", "~0").replace("/", "~1")
