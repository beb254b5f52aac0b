"""Counts and durations of requests, for Prometheus."""

from prometheus_client import Counter, Histogram
from starlette.types import Scope

from app.kernel.measures import REGISTRY

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


# Children are looked up once: finding one costs more than counting on it.
_request_children: dict[tuple[str, str, int], Counter] = {}
_second_children: dict[tuple[str, str], Histogram] = {}


def count_request(scope: Scope, status: int, seconds: float) -> None:
    """Count a request under the pattern of its route, never under its raw path.

    Args:
        scope: of the request.
        status: of the answer.
        seconds: until its first byte.
    """
    route: str = getattr(scope.get("route"), "path", "")
    method: str = scope["method"]
    requests = _request_children.get((method, route, status))
    if requests is None:
        requests = _REQUESTS.labels(method, route, status)
        _request_children[(method, route, status)] = requests
    requests.inc()
    measured = _second_children.get((method, route))
    if measured is None:
        measured = _second_children[(method, route)] = _SECONDS.labels(method, route)
    measured.observe(seconds)
