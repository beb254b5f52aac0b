"""What a proxy in front says about the address that clients use; only trusted ones are heard."""

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")


class ForwardedHeaders:
    """Believes ``X-Forwarded-Proto``, ``-For`` and ``-Prefix`` of trusted proxies.

    The prefix is what the proxy has taken off the path; addresses in answers begin with it.
    """

    def __init__(self, app: ASGIApp, trusted: str) -> None:
        """Make it.

        Args:
            app: what is behind.
            trusted: addresses and networks with commas; ``*``: all.
        """
        self._app = app
        self._uvicorn = ProxyHeadersMiddleware(app, trusted_hosts=trusted)  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not any(name.startswith(b"x-forwarded-") for name, _ in scope.get("headers", ())):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http":
            prefix = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
            sender = scope["client"][0] if scope.get("client") else None
            # Looked at first: uvicorn puts the client in the place of the proxy.
            if sender in self._uvicorn.trusted_hosts and _PREFIX.fullmatch(prefix):
                scope.setdefault("state", {})["forwarded_prefix"] = prefix
        await self._uvicorn(scope, receive, send)  # type: ignore[arg-type]
