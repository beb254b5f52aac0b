"""What every JSON answer has in common: an ETag for reads, ``?pretty``, and when to come back.

Pure ASGI, beneath everything that answers, so it also holds for answers that no route wrote.
"""

import hashlib
import json
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.kernel.deprecation import deprecation_headers
from app.kernel.etags import is_listed, with_content

_LATER = frozenset({202, 429, 503})
_READS = frozenset({"GET", "HEAD"})
_OF_BODY = frozenset({b"content-length", b"content-type"})


class JsonAnswers:
    """Completes JSON answers that are sent in one piece; streams and files pass through.

    A read gets an ETag of what it says, and 304 when the client has that already
    (RFC 9110, section 13.1.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def send_completed(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                further = deprecation_headers(scope)
                if further or message["status"] in _LATER:
                    headers = MutableHeaders(scope=message)
                    headers.update(further)
                    if message["status"] in _LATER:
                        headers.setdefault("Retry-After", "1")
                if _is_json(message["headers"]):
                    held = message
                    return
            elif held is not None:
                start, held = held, None
                if not message.get("more_body", False):
                    message = _complete(scope, start, message)
                await send(start)
            await send(message)

        await self._app(scope, receive, send_completed)


def _is_json(headers: list[tuple[bytes, bytes]]) -> bool:
    has_length = is_json = False
    for name, value in headers:
        if name == b"content-length":
            has_length = True
        elif name == b"content-type":
            kind = value.partition(b";")[0]
            is_json = kind == b"application/json" or kind.endswith(b"+json")
    return has_length and is_json


def _complete(scope: Scope, start: Message, message: Message) -> Message:
    body: bytes = message.get("body", b"")
    if b"pretty" in scope["query_string"] and _wants_pretty(scope):
        body = json.dumps(json.loads(body), ensure_ascii=False, indent=2).encode() + b"\n"
        MutableHeaders(scope=start)["Content-Length"] = str(len(body))
    etag = next((value.decode() for name, value in start["headers"] if name == b"etag"), None)
    is_read = scope["method"] in _READS and start["status"] == 200
    if is_read or etag is not None:
        etag = with_content(etag, hashlib.sha256(body).hexdigest())
        kept = [field for field in start["headers"] if field[0] != b"etag"]
        start["headers"] = [*kept, (b"etag", etag.encode())]
        if is_read and is_listed(etag, Headers(scope=scope).get("if-none-match", "")):
            start["status"] = 304
            start["headers"] = [field for field in start["headers"] if field[0] not in _OF_BODY]
            body = b""
    return {**message, "body": body}


def _wants_pretty(scope: Scope) -> bool:
    asked = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return asked.get("pretty", ["false"])[-1].lower() not in ("false", "0")
