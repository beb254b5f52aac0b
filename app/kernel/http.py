"""Pure ASGI middlewares: what every answer carries, and what is refused before it gets anywhere.

Not Starlette's ``BaseHTTPMiddleware``: it hides disconnects from streams. Every layer, and every
look through the header fields, costs each request; so what can be done in one, is done in one.
"""

import re
import secrets
import time
from datetime import timedelta
from urllib.parse import urlsplit

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.kernel.clock import utc_now
from app.kernel.errors import BadRequest, DomainError, Forbidden, TooLarge
from app.kernel.problems import send_problem
from app.kernel.request_head import Head, head_refusal, read_head
from app.kernel.request_metrics import count_request
from app.kernel.trace_context import RequestTrace, enter
from app.kernel.tracing import Span, Tracing

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
FIGURES_PATH = "/metrics"
"""Prometheus calls each process by its address; a page that a browser shows has no token for it."""
_FOR_MACHINES = (FIGURES_PATH, "/healthz", "/readyz")
"""What is asked for by whatever name a machine has there; it tells nobody anything of anybody."""
_RUN = re.compile(r"/runs/(run_\w{1,64})")
# No answer is a page: should a browser take one for it, nothing in it runs or loads.
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_OURS = (b"x-request-id", b"traceparent")


class Envelope:
    """Gives every request an id, measures it, and gives its answer the headers that all have.

    The id is in the log, in problems and in the ``X-Request-Id`` header. A request that belongs to
    a trace (W3C Trace Context) is one span of it: the log has the trace, the answer's
    ``traceparent`` names the span, and so does that of requests made for this one. Other requests
    are spans only if they begin something that has a trace.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id, traceparent = _named(scope)
        trace = RequestTrace(traceparent)
        enter(trace)
        scope.setdefault("state", {})["request_id"] = request_id
        known = {"request_id": request_id}
        always: tuple[tuple[bytes, bytes], ...] = ((b"x-request-id", request_id.encode()), *_ALWAYS)
        if (run := _RUN.search(scope["path"])) is not None:
            known["run_id"] = run.group(1)
        if trace.span is not None:
            known["trace_id"] = trace.span.trace_id
            named = (b"traceparent", trace.span.traceparent.encode())
            scope["headers"] = [
                named if field[0] == named[0] else field for field in scope["headers"]
            ]

        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                count_request(scope, message["status"], time.perf_counter() - started)
                given = [field for field in message["headers"] if field[0] not in _OURS]
                names = {name for name, _ in given}
                given += [field for field in always if field[0] not in names]
                if trace.span is not None:
                    given.append((b"traceparent", trace.span.traceparent.encode()))
                scope["state"]["status"] = message["status"]
                message = {**message, "headers": given}
            await send(message)

        with structlog.contextvars.bound_contextvars(**known):
            await self._app(scope, receive, send_completed)
        if trace.span is not None and trace.span.is_sampled:
            _tell(scope, trace, request_id, time.perf_counter() - started)


def _tell(scope: Scope, trace: RequestTrace, request_id: str, seconds: float) -> None:
    tracing: Tracing | None = scope["app"].state.tracing
    # What nodes and scripts ask all the time is no part of a trace that somebody would look at.
    # Who is not known has no say in anybody's trace.
    kind = getattr(scope.get("principal"), "kind", "")
    if tracing is None or trace.span is None or kind in ("", "node", "run"):
        return
    ended_at = utc_now()
    route: str = getattr(scope.get("route"), "path", "")
    status: int = scope["state"].get("status", 0)
    span = Span(
        name=f"{scope['method']} {route}",
        span_id=trace.span.span_id,
        parent_id=trace.parent.span_id if trace.parent else "",
        started_at=ended_at - timedelta(seconds=seconds),
        ended_at=ended_at,
        service="api",
        attributes={
            "http.request.method": scope["method"],
            "http.route": route,
            "http.response.status_code": status,
            "trainwright.request.id": request_id,
        },
        error=f"answered {status}" if status >= 500 else "",
    )
    tracing.tell(trace.span.trace_id, [span])


def _named(scope: Scope) -> tuple[str, str]:
    request_id = traceparent = ""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and not request_id:
            request_id = value.decode("latin-1")
        elif name == b"traceparent" and not traceparent:
            traceparent = value.decode("latin-1")
    if not _REQUEST_ID.match(request_id):
        request_id = secrets.token_hex(8)
    return request_id, traceparent


class Gate:
    """Refuses what no route is to see: long heads, foreign hosts and origins, large bodies.

    Foreign ``Host`` headers are DNS rebinding, foreign ``Origin``s are CSRF. Uploads (paths that
    match) have the larger limit.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed_hosts: list[str],
        max_bytes: int,
        max_upload_bytes: int,
        upload_paths: str,
    ) -> None:
        self._app = app
        self._allowed = {host.lower() for host in allowed_hosts}
        self._max_bytes = max_bytes
        self._max_upload_bytes = max_upload_bytes
        self._upload_paths = re.compile(upload_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = read_head(scope)
        foreign = None if scope["path"] in _FOR_MACHINES else self._foreign(head)
        refusal = head_refusal(scope, head) or foreign or self._too_large(scope, head)
        if refusal is not None:
            await send_problem(refusal, scope, receive, send)
        elif head.content_length is None:
            await self._app(scope, self._counted(receive, self._limit(scope)), send)
        else:
            # The server itself ends a body where its declared length ends.
            await self._app(scope, receive, send)

    def _foreign(self, head: Head) -> DomainError | None:
        host = _without_port(head.host)
        if "*" not in self._allowed and host not in self._allowed:
            return BadRequest(
                f"The host name {host!r} is not one of this server's; an operator may add it to "
                "TRAINWRIGHT_ALLOWED_HOSTS."
            )
        if head.origin is not None and _host_of(head.origin) != host:
            return Forbidden("Requests from pages of other origins are refused.")
        return None

    def _too_large(self, scope: Scope, head: Head) -> DomainError | None:
        declared = head.content_length
        if declared is None:
            return None
        if not declared.isdigit():
            return BadRequest("Content-Length is not a number.")
        if int(declared) > self._max_bytes and int(declared) > (limit := self._limit(scope)):
            return TooLarge(f"The body has {declared} bytes; at most {limit} are taken here.")
        return None

    def _limit(self, scope: Scope) -> int:
        is_upload = self._upload_paths.search(scope["path"]) is not None
        return self._max_upload_bytes if is_upload else self._max_bytes

    def _counted(self, receive: Receive, limit: int) -> Receive:
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    raise TooLarge(f"The body is over {limit} bytes; at most so many are taken.")
            return message

        return receive_counted


def _host_of(origin: str) -> str | None:
    try:
        return _without_port(urlsplit(origin).netloc)
    except ValueError:
        return None


def _without_port(host: str) -> str:
    return re.sub(r":\d+$", "", host.lower())
