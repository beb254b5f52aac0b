"""How often, and for how much at once, one caller may ask.

Counted in the memory of each API process: a limit costs no round trip, needs no broker, and with
several processes a caller may do as many times more.
"""

import ipaddress
import math
import re
import time
from collections import Counter

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from app.auth.middleware import SIGN_IN_PATHS
from app.auth.principal import Principal
from app.kernel.config import RouteClass, Settings
from app.kernel.errors import TooManyRequests
from app.kernel.problems import send_problem

DEFAULTS: dict[RouteClass, str] = {
    "read": "10000/10 seconds",
    "write": "10000/10 seconds",
    "submit": "3000/minute",
    "score": "50000/10 seconds",
    "script": "10000/10 seconds",
    "sign-in": "60/minute",
}
_SUBMIT = re.compile(
    r"/v1/workspaces/[^/]+/(runs|imports|deployments/[^/]+|models/[^/]+/versions|datasets"
    r"|environments(/[^/]+)?|datasets/[^/]+/versions)$"
)
_SCORE = re.compile(r"/score$|/deployments/[^/]+/v[12](/|$)")
_BUSY_SECONDS = 5
_IPV6_BITS = 64


class TooManyOpenRequests(TooManyRequests):
    """The caller has too many requests open."""

    code = "too_many_open_requests"


class CallerLimits:
    """Answers 429 to a caller who asks too often, or has too many requests open.

    Nodes are left out: they are ours, and a log that is refused is a log that is late.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        texts = DEFAULTS | settings.rate_limits
        self._limits = {name: parse(text) for name, text in texts.items() if text}
        self._most_open = settings.max_open_requests
        self._most_streams = settings.max_open_streams
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal: Principal | None = scope.get("principal")
        if scope["type"] == "http" and scope["path"] in SIGN_IN_PATHS:
            await self._sign_in(scope, receive, send)
            return
        if principal is None or principal.kind == "node":
            await self._app(scope, receive, send)
            return
        caller = f"{principal.kind} {principal.token_id or principal.id}"
        kinds = [caller, f"{caller} streams"] if _stays_open(scope) else [caller]
        try:
            await self._check(scope, principal, caller, kinds)
        except TooManyRequests as error:
            await send_problem(error, scope, receive, send)
            return
        self._open.update(kinds)
        try:
            await self._app(scope, receive, send)
        finally:
            self._open.subtract(kinds)
            for kind in kinds:
                if not self._open[kind]:
                    del self._open[kind]

    async def _sign_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._limits.get("sign-in")
        network = network_of(scope["client"][0] if scope.get("client") else "")
        if limit is None or await self._limiter.hit(limit, "sign-in", network):
            await self._app(scope, receive, send)
            return
        error = TooManyRequests(
            f"At most {limit} are answered of this kind (sign-in) to one address ({network}).",
            retry_after_seconds=await self._seconds_left(limit, "sign-in", network),
        )
        await send_problem(error, scope, receive, send)

    async def _check(
        self, scope: Scope, principal: Principal, caller: str, kinds: list[str]
    ) -> None:
        if self._open[caller] >= self._most_open:
            message = f"This caller has {self._most_open} requests open; wait for one to end."
            raise TooManyOpenRequests(message, retry_after_seconds=_BUSY_SECONDS)
        if len(kinds) > 1 and self._open[kinds[1]] >= self._most_streams:
            message = f"This caller follows {self._most_streams} streams already; close one."
            raise TooManyOpenRequests(message, retry_after_seconds=_BUSY_SECONDS)
        name = route_class(principal, scope["method"], scope["path"])
        limit = self._limits.get(name)
        if limit is None or await self._limiter.hit(limit, name, caller):
            return
        seconds = await self._seconds_left(limit, name, caller)
        raise TooManyRequests(
            f"At most {limit} are answered of this kind ({name}) to one caller.",
            retry_after_seconds=seconds,
        )

    async def _seconds_left(self, limit: RateLimitItem, name: str, caller: str) -> int:
        window = await self._limiter.get_window_stats(limit, name, caller)
        return max(1, math.ceil(window.reset_time - time.time()))


def route_class(principal: Principal, method: str, path: str) -> RouteClass:
    """The class of routes that a request is counted in."""
    if _SCORE.search(path):
        return "score"
    if principal.kind in ("run", "discovery"):
        return "script"
    if method in ("GET", "HEAD", "OPTIONS"):
        return "read"
    return "submit" if _SUBMIT.match(path) else "write"


def network_of(address: str) -> str:
    """Whom an address belongs to: of IPv6 the first 64 bits, as everybody has the others."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _IPV6_BITS), strict=False))


def _stays_open(scope: Scope) -> bool:
    query: bytes = scope["query_string"]
    if b"follow=" in query or b"wait=" in query:
        return True
    for name, value in scope["headers"]:
        if (name == b"accept" and b"text/event-stream" in value) or (
            name == b"prefer" and b"wait" in value
        ):
            return True
    return False
