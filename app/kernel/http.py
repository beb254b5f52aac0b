"""Pure ASGI middlewares: request ids, Host and Origin checks, body limits.

Not Starlette's ``BaseHTTPMiddleware``: it hides disconnects from streams.
"""

import re
import secrets
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.kernel.errors import BadRequest, Forbidden, TooLarge
from app.kernel.problems import send_problem

# No answer is a page: should a browser take one for it, nothing in it runs or loads.
_NO_PAGE = "sandbox; default-src 'none'; frame-ancestors 'none'"
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_TRACEPARENT = re.compile(
    r"^(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}"
    r"-(?P<flags>[0-9a-f]{2})(-.*)?$"
)


class RequestIds:
    """Gives every request an id: in the log, in problems, in the ``X-Request-Id`` header.

    A request that belongs to a trace (W3C Trace Context) is one span of it: the log has the trace,
    the answer's ``traceparent`` names the span, and so does that of requests made for this one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given_headers = Headers(scope=scope)
        given = given_headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        known = {"request_id": request_id}
        span = _span(given_headers.get("traceparent"))
        if span is not None:
            known["trace_id"] = span.trace_id
            scope["headers"] = [
                (name, span.traceparent.encode() if name == b"traceparent" else value)
                for name, value in scope["headers"]
            ]

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                if span is not None:
                    headers["traceparent"] = span.traceparent
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Content-Security-Policy", _NO_PAGE)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        with structlog.contextvars.bound_contextvars(**known):
            await self._app(scope, receive, send_with_id)


class HostAndOrigin:
    """Refuses foreign ``Host`` headers (DNS rebinding) and foreign ``Origin``s (CSRF)."""

    def __init__(self, app: ASGIApp, allowed_hosts: list[str]) -> None:
        self._app = app
        self._allowed = {host.lower() for host in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = _without_port(headers.get("host", ""))
        if "*" not in self._allowed and host not in self._allowed:
            error = BadRequest(
                f"The host name {host!r} is not one of this server's; an operator may add it to "
                "TRAINWRIGHT_ALLOWED_HOSTS."
            )
            await send_problem(error, scope, receive, send)
            return
        origin = headers.get("origin")
        if origin is not None and _without_port(urlsplit(origin).netloc) != host:
            refusal = Forbidden("Requests from pages of other origins are refused.")
            await send_problem(refusal, scope, receive, send)
            return
        await self._app(scope, receive, send)


class BodyLimit:
    """Bounds request bodies; uploads (paths that match) have the larger limit."""

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, max_upload_bytes: int, upload_paths: str
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_upload_bytes = max_upload_bytes
        self._upload_paths = re.compile(upload_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = self._upload_paths.search(scope["path"]) is not None
        limit = self._max_upload_bytes if is_upload else self._max_bytes
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdigit():
            await send_problem(BadRequest("Content-Length is not a number."), scope, receive, send)
            return
        if int(declared) > limit:
            error = TooLarge(f"The body has {declared} bytes; at most {limit} are taken here.")
            await send_problem(error, scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    raise TooLarge(f"The body is over {limit} bytes; at most so many are taken.")
            return message

        await self._app(scope, receive_counted, send)


class _Span(NamedTuple):
    trace_id: str
    traceparent: str


def _span(parent: str | None) -> _Span | None:
    """A span of the trace that a ``traceparent`` names; None: it names none."""
    found = _TRACEPARENT.match(parent) if parent else None
    if found is None:
        return None
    own = f"00-{found['trace']}-{secrets.token_hex(8)}-{found['flags']}"
    return _Span(found["trace"], own)


def _without_port(host: str) -> str:
    return re.sub(r":\d+$", "", host.lower())
