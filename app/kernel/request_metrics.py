"""Counts and durations of requests, for Prometheus."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REGISTRY = CollectorRegistry()
_REQUESTS = Counter(
    "trainwright_http_requests_total",
    "Answered requests",
    ["method", "route", "status"],
    registry=REGISTRY,
)
_SECONDS = Histogram(
    "trainwright_http_first_byte_seconds",
    "Time from request to the first byte of the answer",
    ["method", "route"],
    registry=REGISTRY,
)


class RequestMetrics:
    """Measures every request under the pattern of its route, never under its raw path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def send_measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "")
                method = scope["method"]
                _REQUESTS.labels(method, route, message["status"]).inc()
                _SECONDS.labels(method, route).observe(time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, send_measured)
